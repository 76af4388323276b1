/**
 * Owns what the timeline shows of a conversation: a list of rows, each with a key and what it depends on, so that a row
 * that did not change is not drawn again. Pure.
 */
/** @import { Conversation, Gap, Item, Message, Reset } from "./conversation.js" */
/** @import { Outgoing } from "./outbox.js" */
import { dayName, dayOf, isTime } from "./time.js";
import { plural, t } from "./words.js";

const GROUP_WITHIN = 5 * 60_000; // ms between two messages of one author under one name

/**
 * @typedef {object} Row
 * @property {string} kind start, outside, loading, day, new, lost, message, outgoing, fault
 * @property {string} key
 * @property {string} depends
 * @property {string} [text]
 * @property {string} [more] of the line "new": the words of a button that leads further up
 * @property {any} [message] Message or Outgoing
 * @property {boolean} [first] of its group: shows name and picture
 * @property {boolean} [last] the user's own last message: shows that it was kept
 * @property {string[]} [readers]
 */

/**
 * @param {import("./conversation.js").Conversation} conversation
 * @param {{me: string, now: number, nameOf: (user: string) => string, from?: number, to?: number}} context `from`, `to`:
 *   which items
 * @returns {Row[]}
 */
export function rowsOf(conversation, { me, now, nameOf, from = 0, to = conversation.items.length }) {
  const shown = conversation.items.slice(from, to);
  /** @type {Row[]} */
  const rows = from > 0 ? [] : [opening(conversation, nameOf(me))];
  const readers = readersByOffset(conversation, shown, conversation.items[to]);
  const last = conversation.items.at(-1);
  /** @type {Message | Outgoing | null} */
  let before = earlier(conversation.items[from - 1]);
  let day = before ? dayOf(before.time) : 0;
  let marked =
    conversation.newAfter === null ||
    (before?.segment === conversation.segment && before.offset > conversation.newAfter);
  for (const item of shown) {
    if (item.kind !== "message") {
      rows.push(lost(item));
      before = null;
      continue;
    }
    if (!isTime(item.time)) {
      rows.push(fault(item));
      before = null;
      continue;
    }
    if (dayOf(item.time) !== day) {
      day = dayOf(item.time);
      rows.push(line("day", `day ${day} ${item.segment}`, dayName(item.time, now)));
      before = null;
    }
    if (!marked && isNew(item, conversation, me)) {
      marked = true;
      rows.push(newLine(conversation));
      before = null;
    }
    const place = {
      first: !continues(before, item),
      last: item === last && item.from.user === me && !item.deleted && !conversation.outgoing.length,
    };
    rows.push(messageRow(item, { ...place, readers: readers.get(item.offset) ?? [], conversation, nameOf }));
    before = item;
  }
  if (to < conversation.items.length) return rows;
  for (const outgoing of conversation.outgoing) {
    const first = !continues(before, outgoing);
    const depends = `${first} ${outgoing.status} ${outgoing.error}`;
    rows.push({ kind: "outgoing", key: `out ${outgoing.key}`, depends, message: outgoing, first });
    before = outgoing;
  }
  return rows;
}

/** @param {Item | undefined} item */
const earlier = (item) => (item?.kind === "message" && isTime(item.time) ? item : null);

/**
 * @param {Message} item
 * @param {Conversation} conversation
 * @param {string} me
 */
function isNew(item, conversation, me) {
  if (!item || item.segment !== conversation.segment || item.from.user === me) return false;
  return item.offset > (conversation.newAfter ?? 0);
}

/**
 * @param {Conversation} conversation
 * @param {string} name
 */
function opening(conversation, name) {
  if (!conversation.joined && !conversation.joining && !conversation.items.length)
    return { kind: "outside", key: "outside", depends: "" };
  if (conversation.loading) return line("loading", "loading", t("Loading earlier messages…"));
  if (!conversation.loaded || conversation.more) return line("loading", "waiting", "");
  return { kind: "start", key: "start", depends: `${conversation.id} ${name} ${conversation.items.length === 0}` };
}

/**
 * @param {string} kind
 * @param {string} key
 * @param {string} text
 */
const line = (kind, key, text) => ({ kind, key, depends: text, text });

/**
 * The line above the first new message, or above the first of them that is here.
 * @param {Conversation} conversation
 */
function newLine(conversation) {
  const more = conversation.lacksNew() ? t("More unread above") : "";
  return { ...line("new", "new", t("New messages")), depends: more, more };
}

/** @param {Gap | Reset} item */
function lost(item) {
  if (item.kind === "reset") {
    return line("lost", `reset ${item.segment}`, t("The server lost what was said before. It begins again here."));
  }
  const count = item.to - item.offset + 1;
  const text = plural(count, "{count} message could not be recovered", "{count} messages could not be recovered");
  return line("lost", `gap ${item.segment} ${item.offset}`, text);
}

/**
 * In place of a message that cannot be shown: it costs no other one.
 * @param {Message} item
 */
const fault = (item) => line("fault", `${item.segment} ${item.offset}`, t("This message cannot be shown"));

/**
 * @param {Message} message
 * @param {{first: boolean, last: boolean, readers: string[], conversation: Conversation, nameOf: (user: string) => string}} place
 */
function messageRow(message, { first, last, readers, conversation, nameOf }) {
  const target = conversation.answeredBy(message);
  const quoted = target ? `${target.version}` : "";
  const names = [...message.reactions.values(), readers].flatMap((users) => [...users]).map(nameOf);
  const { role } = conversation.members.get(message.from.user) ?? {};
  const depends = [message.version, role, first, last, quoted, readers, names, message.mentions.map(nameOf)].join(" ");
  return { kind: "message", key: `${message.segment} ${message.offset}`, depends, message, first, last, readers };
}

/**
 * @param {Message | Outgoing | null} before
 * @param {Message | Outgoing} item
 */
function continues(before, item) {
  if (!before || before.from.user !== item.from.user || before.from.name !== item.from.name) return false;
  return (
    item.time - before.time < GROUP_WITHIN && dayOf(before.time) === dayOf(item.time) && item.replyTo === undefined
  );
}

/**
 * Each reader's mark goes to the last message that they have read, if that is among those shown.
 * @param {Conversation} conversation
 * @param {Item[]} shown
 * @param {Item | undefined} next
 */
function readersByOffset(conversation, shown, next) {
  const found = new Map();
  const messages = shown
    .filter((item) => item.kind === "message")
    .filter((item) => item.segment === conversation.segment);
  for (const [user, offset] of conversation.readers) {
    const at = messages[lastUpTo(messages, offset)];
    const isBelow = next?.segment === conversation.segment && offset >= next.offset;
    if (at && !isBelow && at.from.user !== user) found.set(at.offset, [...(found.get(at.offset) ?? []), user]);
  }
  return found;
}

/**
 * The place of the last message with at most this offset; -1: there is none.
 * @param {Message[]} messages
 * @param {number} offset
 */
function lastUpTo(messages, offset) {
  let low = 0;
  let high = messages.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (messages[middle].offset <= offset) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
