/** Owns how times are shown: in the reader's own language and time zone. */
import { pageLocale } from "./words.js";

/** @type {Map<string, Intl.DateTimeFormat>} made when first used: the language is known by then */
const formats = new Map();

/**
 * @param {string} name
 * @param {Intl.DateTimeFormatOptions} options
 */
function format(name, options) {
  let found = formats.get(name);
  if (!found) {
    found = new Intl.DateTimeFormat(pageLocale(), options);
    formats.set(name, found);
  }
  return found;
}

/** @param {number} time */
export const clockTime = (time) => format("clock", { hour: "2-digit", minute: "2-digit" }).format(time);
/** @param {number} time */
export const wholeTime = (time) => format("whole", { dateStyle: "full", timeStyle: "medium" }).format(time);

/**
 * Whether it is a moment that a clock can show (ECMA-262, 21.4.1.1).
 * @param {number} time
 */
export const isTime = (time) => typeof time === "number" && !Number.isNaN(new Date(time).getTime());

/**
 * A number that is the same for times of one day of the reader's.
 * @param {number} time
 */
export function dayOf(time) {
  const date = new Date(time);
  return date.getFullYear() * 10_000 + (date.getMonth() + 1) * 100 + date.getDate();
}

/**
 * "Today", "Yesterday", or the date.
 * @param {number} time
 */
export function dayName(time, now = Date.now()) {
  const midnight = (/** @type {number} */ at) => new Date(at).setHours(0, 0, 0, 0);
  const days = Math.round((midnight(time) - midnight(now)) / 86_400_000);
  if (days === 0 || days === -1) {
    const word = new Intl.RelativeTimeFormat(pageLocale(), { numeric: "auto" }).format(days, "day");
    return word[0].toLocaleUpperCase() + word.slice(1);
  }
  if (new Date(time).getFullYear() === new Date(now).getFullYear())
    return format("thisYear", { weekday: "long", day: "numeric", month: "long" }).format(time);
  return format("otherYear", { dateStyle: "long" }).format(time);
}
