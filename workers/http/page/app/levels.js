/**
 * Owns what a person wants to be told of, in this browser: per conversation all messages, only mentions or nothing; and
 * until when nothing at all.
 */
/** @import { Conversation, Message } from "./conversation.js" */
import { kept } from "./storage.js";
import { clockTime } from "./time.js";
import { t } from "./words.js";

/** @typedef {"all" | "mentions" | "none"} Level */

const LEVELS = "levels"; // {conversation: level}, where it is another than usual
const TOLD = "told"; // the message that a tab told of last, for the others
/** Under this name is kept until when nobody is to be disturbed, in ms since 1970; FOREVER: until it is ended by hand. */
export const QUIET = "quiet";
export const FOREVER = 8.64e15; // the last moment that a Date knows

/** @param {Conversation} conversation @returns {Level} */
const usual = (conversation) => (conversation.direct ? "all" : "mentions");

/** @type {Record<string, string> | null} what is kept, once it was read: it is asked for with each message */
let levels = null;

/** Another tab may have changed them. */
export function forgetLevels() {
  levels = null;
}

/** @param {Conversation} conversation @returns {Level} */
export function levelOf(conversation) {
  levels ??= /** @type {Record<string, string>} */ (kept.get(LEVELS, {}));
  const level = levels[conversation.id];
  return level === "all" || level === "mentions" || level === "none" ? level : usual(conversation);
}

/**
 * @param {Conversation} conversation
 * @param {Level} level
 */
export function setLevel(conversation, level) {
  const { [conversation.id]: _, ...others } = kept.get(LEVELS, {});
  kept.set(LEVELS, level === usual(conversation) ? others : { ...others, [conversation.id]: level });
  forgetLevels();
}

/** The conversations of which nothing is to be told. @returns {string[]} */
export const silentOnes = () =>
  Object.entries(kept.get(LEVELS, {}))
    .filter(([, level]) => level === "none")
    .map(([id]) => id);

/** Until when nobody is to be disturbed, in ms since 1970; 0: one may be. */
export function quietUntil() {
  const until = kept.get(QUIET, 0);
  return until > Date.now() ? until : 0;
}

export const isQuiet = () => quietUntil() > 0;

export function quietText() {
  const until = quietUntil();
  return until === FOREVER ? t("Do not disturb") : t("Do not disturb until {time}", { time: clockTime(until) });
}

/**
 * Whether no other tab has made a sound for this message.
 * @param {Conversation} conversation
 * @param {Message} message
 */
export function isFirstToTell(conversation, { offset }) {
  const told = kept.get(TOLD, {});
  if (told.id === conversation.id && told.offset >= offset) return false;
  kept.set(TOLD, { id: conversation.id, offset });
  return true;
}
