/**
 * Owns one conversation, a room or the direct messages with one person: its messages in order, what changed about them,
 * what is unread, who is there. Pure: no DOM, no network; the time is given.
 *
 * `segment` counts the times the log was lost: offsets begin again, and what was shown before stays above, out of reach.
 */
/** @import { Entry, Member, Presence, RoomState } from "../chat/wire.js" */

export const ROOM_MENTION = "@room";
const MOST_KEPT = 600; // messages; older ones are loaded again when they are scrolled to
const TYPING_FOR = 6000; // ms

/**
 * @typedef {{user: string, name: string}} Person
 * @typedef {object} Message
 * @property {"message"} kind
 * @property {number} segment
 * @property {number} offset
 * @property {string | undefined} epoch of the log
 * @property {number} time
 * @property {Person} from
 * @property {string | undefined} text
 * @property {any} data
 * @property {number | undefined} replyTo
 * @property {string[]} mentions
 * @property {boolean} edited
 * @property {boolean} deleted
 * @property {Map<string, Set<string>>} reactions emoji to users
 * @property {number} version grows with each change
 * @property {boolean} [unfolded] a long one is shown as a whole
 *
 * @typedef {{kind: "gap", segment: number, offset: number, to: number}} Gap
 * @typedef {{kind: "reset", segment: number, offset: number}} Reset
 * @typedef {Message | Gap | Reset} Item
 */

/**
 * What the server says of a message, in history, in a recovery or live, in our words.
 * @param {Entry} entry
 * @param {number} segment
 * @returns {Message}
 */
export function messageFrom(entry, segment) {
  return {
    kind: "message",
    segment,
    offset: entry.offset,
    epoch: entry.epoch,
    time: entry.time,
    from: { user: String(entry.from?.user ?? ""), name: String(entry.from?.name ?? "?") },
    text: entry.text,
    data: entry.data,
    replyTo: entry.reply_to,
    mentions: listOf(entry.mentions),
    edited: Boolean(entry.edited),
    deleted: Boolean(entry.deleted),
    reactions: reactionsFrom(entry.reactions),
    version: 0,
  };
}

/** @param {any} given */
const listOf = (given) => (Array.isArray(given) ? given : []);

/** @param {any} given */
function reactionsFrom(given) {
  const idOf = (/** @type {string | Person} */ one) => (typeof one === "string" ? one : one.user);
  return new Map(Object.entries(given ?? {}).map(([emoji, users]) => [emoji, new Set(listOf(users).map(idOf))]));
}

/** A room, or the direct messages with one person. */
export class Conversation {
  /**
   * @param {string} id the room's name, or "@" and the other's user id
   */
  constructor(id) {
    this.id = id;
    this.direct = id.startsWith("@");
    this.peer = this.direct ? id.slice(1) : "";
    /** @type {Item[]} in order */
    this.items = [];
    /** @type {Map<number, Message>} of the present segment */
    this.byOffset = new Map();
    /** @type {import("./outbox.js").Outgoing[]} */
    this.outgoing = [];
    this.segment = 0;
    this.joined = this.direct;
    this.joining = false; // one may write already; it is sent when we are in
    /** @type {any} the reply or edit that is being written */
    this.writing = null;
    /** @type {any} where one has scrolled to, further up */
    this.place = null;
    this.loaded = false;
    this.loading = false;
    this.stuck = false; // asking for older ones failed; not again before the next connection
    this.more = true; // older messages than the first one here
    this.top = 0; // the highest offset seen
    this.unread = 0;
    this.countedTo = 0; // `unread` includes everything up to there
    this.mentioned = false; // among the unread
    /** @type {Set<number>} offsets of unread messages of a room that mention us */
    this.mentions = new Set();
    this.readTo = 0; // how far the user has read
    this.newFrom = 0; // what is new to who has read nothing comes after this offset
    /** @type {number | null} where the line "new messages" goes: after this offset */
    this.newAfter = null;
    /** @type {Map<string, Member>} */
    this.members = new Map();
    this.memberCount = 0;
    this.topic = ""; // what the room is about
    this.membersNote = "";
    this.comings = 0; // counts changes of the members
    /** @type {Map<string, {name: string, until: number}>} */
    this.typing = new Map();
    /** @type {Map<string, number>} user to how far they have read */
    this.readers = new Map();
  }

  // ---- messages ----------------------------------------------------------------------------------

  /**
   * Take in a message, new or known. Returns it.
   * @param {Entry} entry
   */
  put(entry) {
    const message = messageFrom(entry, this.segment);
    const known = this.byOffset.get(entry.offset);
    if (known) {
      Object.assign(known, message, { version: known.version + 1 });
      return known;
    }
    this.byOffset.set(entry.offset, message);
    this.insert(message);
    this.top = Math.max(this.top, entry.offset);
    return message;
  }

  /** @param {Item} item */
  insert(item) {
    let place = this.items.length;
    while (place > 0 && isAfter(this.items[place - 1], item)) place -= 1;
    this.items.splice(place, 0, item);
  }

  /**
   * Take in what changes an earlier message. Returns that, if it is here.
   * @param {Entry} entry
   */
  change(entry) {
    this.top = Math.max(this.top, entry.offset);
    const message = this.byOffset.get(entry.target);
    if (!message) return undefined;
    if (entry.type === "edited" && !message.deleted) {
      Object.assign(message, { text: entry.text, data: entry.data, mentions: listOf(entry.mentions), edited: true });
    } else if (entry.type === "deleted") {
      Object.assign(message, { text: undefined, data: undefined, mentions: [], deleted: true, reactions: new Map() });
    } else if (entry.type === "reacted" && !message.deleted) {
      react(message.reactions, entry.emoji ?? "", entry.from.user, !entry.remove);
    }
    message.version += 1;
    return message;
  }

  /**
   * These offsets cannot be had any more.
   * @param {number} from
   * @param {number} to
   */
  lose(from, to) {
    this.insert({ kind: "gap", segment: this.segment, offset: from, to });
    this.top = Math.max(this.top, to);
  }

  /**
   * The log begins again after `offset`.
   * @param {number} offset
   */
  reset(offset) {
    this.segment += 1;
    this.byOffset = new Map();
    this.insert({ kind: "reset", segment: this.segment, offset: -1 });
    this.top = offset;
    this.countedTo = offset;
    this.readTo = Math.min(this.readTo, offset);
    this.newAfter = null;
    this.more = false;
    this.readers.clear();
  }

  /**
   * The message that a reply answers, if it is here: of the same log.
   * @param {Message} reply
   * @returns {Message | undefined}
   */
  answeredBy({ segment, replyTo }) {
    if (replyTo === undefined) return undefined;
    if (segment === this.segment) return this.byOffset.get(replyTo);
    const found = this.items.find((item) => item.segment === segment && item.offset === replyTo);
    return found?.kind === "message" ? found : undefined;
  }

  /** The lowest offset of the present log that is here; undefined: none is. */
  get first() {
    return this.items.find((item) => item.kind === "message" && item.segment === this.segment)?.offset;
  }

  /** @returns {Message | undefined} */
  get last() {
    const item = this.items.findLast((one) => one.kind === "message");
    return item?.kind === "message" ? item : undefined;
  }

  /**
   * @returns {Message | undefined} the last one of this user's that can still be changed
   * @param {string} user
   */
  lastOf(user) {
    const ours = (/** @type {Item} */ item) =>
      item.kind === "message" && item.from.user === user && !item.deleted && item.segment === this.segment;
    return /** @type {Message | undefined} */ (this.items.findLast(ours));
  }

  /** Let go of the oldest messages, but not of the last `least`. Returns whether they can be asked for again. */
  trim(least = 0) {
    const excess = this.items.length - Math.max(MOST_KEPT, least);
    if (excess <= 0) return false;
    const gone = this.items.splice(0, excess);
    const present = gone.filter((item) => item.segment === this.segment);
    for (const { kind, offset } of present) if (kind === "message") this.byOffset.delete(offset);
    if (present.length) this.more = true;
    return present.length > 0;
  }

  // ---- reading -----------------------------------------------------------------------------------

  /**
   * What the server knows of our reading.
   * @param {RoomState} state
   */
  counted({ offset, unread, read, mentions = [] }) {
    this.readTo = Math.max(this.readTo, read ?? 0);
    if (unread === undefined) return;
    this.unread = read === undefined ? mentions.length : unread; // to who was never here, nothing else is news
    this.newFrom = read === undefined && mentions.length ? Math.min(...mentions) - 1 : 0;
    this.countedTo = offset;
    this.mentions = new Set(mentions);
    this.mentioned = mentions.length > 0;
  }

  /**
   * A message of somebody else came that is not being looked at.
   * @param {Message} message
   * @param {boolean} mentionsMe
   */
  addUnread(message, mentionsMe) {
    if (message.offset <= this.readTo) return;
    if (message.offset > this.countedTo) {
      this.unread += 1;
      this.countedTo = message.offset;
    }
    if (!mentionsMe) return;
    this.mentions.add(message.offset);
    this.mentioned = true;
  }

  /**
   * A message that may have been counted is deleted. `entry` says which, and who did it.
   * @param {Entry} entry
   * @param {Message | undefined} message
   * @param {string} me
   */
  uncount(entry, message, me) {
    this.unmention((offset) => offset !== entry.target);
    const counted = entry.target > this.readTo && entry.target <= this.countedTo;
    const ours = (message?.from.user ?? entry.from?.user) === me;
    if (!counted || ours || message?.deleted || !this.unread) return;
    this.unread -= 1;
    if (!this.unread) this.mentioned = false;
  }

  /** @param {(offset: number) => boolean} stays */
  unmention(stays) {
    this.mentions = new Set([...this.mentions].filter(stays));
    if (!this.direct) this.mentioned = this.mentions.size > 0;
  }

  /**
   * The user has read so far, elsewhere. What is left is counted where it is all here.
   * @param {number} offset
   * @param {string} me
   */
  readElsewhere(offset, me) {
    this.readTo = Math.max(this.readTo, offset);
    this.unmention((one) => one > offset);
    if (offset >= this.top) this.readAll();
    else if (this.byOffset.has(offset)) {
      const left = [...this.byOffset.values()].filter((one) => this.isNews(one, me));
      this.unread = Math.min(this.unread, left.length);
      if (!this.unread) this.mentioned = false;
    }
  }

  /**
   * Whether a message counts as unread: of somebody else, not read, not deleted.
   * @param {Message} message
   * @param {string} me
   */
  isNews(message, me) {
    return message.offset > this.readTo && message.from.user !== me && !message.deleted;
  }

  /**
   * Whether the first new message may be above the oldest entry that is here, and nothing after it was read.
   * @param {number} [oldest] its offset
   */
  lacksNew(oldest = this.first ?? 0) {
    const { newAfter } = this;
    return newAfter !== null && this.readTo <= newAfter && this.more && oldest > newAfter + 1;
  }

  /** Everything that is here was read. Returns whether that is news. */
  readAll() {
    const news = this.unread > 0 || this.readTo < this.top;
    this.readTo = Math.max(this.readTo, this.top);
    this.countedTo = Math.max(this.countedTo, this.top);
    this.unread = 0;
    this.mentioned = false;
    this.mentions.clear();
    return news;
  }

  // ---- people ------------------------------------------------------------------------------------

  /** @param {{members: any[], count: number}} answer */
  setMembers({ members, count }) {
    this.members = new Map(members.map((member) => [member.user, member]));
    this.memberCount = count;
    this.membersNote = "";
  }

  /**
   * Who came and went. Returns whether the list is still complete; else ask for it again.
   * @param {Presence} change
   */
  changeMembers({ joined, left, renamed, count }) {
    this.comings += 1;
    for (const { user, name } of [...(joined ?? []), ...(renamed ?? [])]) {
      this.members.set(user, { connections: 1, ...this.members.get(user), user, name });
    }
    for (const { user } of left ?? []) {
      this.members.delete(user);
      this.typing.delete(user);
    }
    this.memberCount = count;
    return this.members.size === count;
  }

  /**
   * Who writes at this moment. @returns {string[]}
   * @param {number} now
   */
  typers(now) {
    for (const [user, { until }] of this.typing) if (until <= now) this.typing.delete(user);
    return [...this.typing.values()].map(({ name }) => name);
  }

  /**
   * @param {string} user
   * @param {string} name
   * @param {number} now
   */
  types(user, name, now) {
    this.typing.set(user, { name, until: now + TYPING_FOR });
  }
}

/**
 * @param {any} one
 * @param {any} other
 */
function isAfter(one, other) {
  return one.segment > other.segment || (one.segment === other.segment && one.offset > other.offset);
}

/**
 * @param {any} reactions
 * @param {string} emoji
 * @param {string} user
 * @param {any} on
 */
function react(reactions, emoji, user, on) {
  const users = reactions.get(emoji) ?? new Set();
  if (on) users.add(user);
  else users.delete(user);
  if (users.size) reactions.set(emoji, users);
  else reactions.delete(emoji);
}
