/** Owns how times are shown: in the reader's own language and time zone. */

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const thisYear = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const otherYear = new Intl.DateTimeFormat(undefined, { dateStyle: "long" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

/** @param {number} time */
export const clockTime = (time) => clock.format(time);
/** @param {number} time */
export const wholeTime = (time) => whole.format(time);

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
    const word = relative.format(days, "day");
    return word[0].toLocaleUpperCase() + word.slice(1);
  }
  const format = new Date(time).getFullYear() === new Date(now).getFullYear() ? thisYear : otherYear;
  return format.format(time);
}
