/**
 * Owns what the page knows: all conversations, who we are, what everybody is called; and what each event of the client
 * changes about it. It tells `changed(what, conversation)`; no DOM in here.
 */
/** @import { Message } from "./conversation.js" */
/** @import { Entry, Gap, Left, Member, Page, Presence, Read, Reset, RoomState, Typing, Welcome } from "../chat/wire.js" */
import { Conversation, ROOM_MENTION } from "./conversation.js";
import { t } from "./words.js";

/** @typedef {"me" | "list" | "messages" | "people" | "typing"} What */

/** Everything but the connection. */
export class Model {
  /**
   * @param {(what: What, conversation?: Conversation) => void} changed
   * @param {(conversation: Conversation, message: any, forMe: boolean) => void} arrived a message of somebody else
   */
  constructor(changed, arrived) {
    this.changed = changed;
    this.arrived = arrived;
    this.me = "";
    this.name = "";
    this.role = "user";
    this.limits = { message_size: 65_536, name: 32 };
    /** @type {Map<string, Conversation>} */
    this.conversations = new Map();
    /** @type {Map<string, string>} what users are called */
    this.names = new Map();
    /** @type {Conversation | null} the one that is shown */
    this.current = null;
    this.attentive = () => false; // whether the end of the current one is being looked at
    this.inbox = { readTo: 0, first: Infinity, top: 0, more: true, loaded: false };
  }

  /** The conversation that is shown, where one must be. */
  get shown() {
    if (!this.current) throw new Error("no conversation is shown");
    return this.current;
  }

  get moderates() {
    return this.role === "moderator" || this.role === "admin";
  }

  /** @param {string} id */
  conversation(id) {
    let found = this.conversations.get(id);
    if (!found) {
      found = new Conversation(id);
      if (found.direct) found.readTo = this.inbox.readTo;
      this.conversations.set(id, found);
    }
    return found;
  }

  /**
   * What a user may do here, as far as the server has said.
   * @param {string} user
   */
  roleOf(user) {
    if (user === this.me) return this.role;
    const member = [...this.conversations.values()].map(({ members }) => members.get(user)).find((one) => one?.role);
    return member?.role ?? "";
  }

  /** @param {string} user */
  nameOf(user) {
    if (user === ROOM_MENTION) return "room";
    return this.names.get(user) ?? user.replace(/^guest:/, `${t("Guest")} `).slice(0, 14);
  }

  /**
   * Whether anything was ever heard of the user: anybody can be written to, even who never comes.
   * @param {string} user
   */
  isKnown(user) {
    return user === this.me || this.names.has(user);
  }

  /** @param {Conversation} conversation */
  titleOf(conversation) {
    if (!conversation.direct) return conversation.id;
    return conversation.peer === this.me ? t("{name} (you)", { name: this.name }) : this.nameOf(conversation.peer);
  }

  /**
   * The room in which the server keeps a conversation: all direct messages lie in one's own inbox.
   * @param {Conversation} conversation
   */
  logOf(conversation) {
    return conversation.direct ? `@${this.me}` : conversation.id;
  }

  /**
   * Whether the user is in a room that we are in, too.
   * @param {string} user
   */
  isOnline(user) {
    return [...this.conversations.values()].some((one) => !one.direct && one.joined && one.members.has(user));
  }

  /**
   * Where a log's entry belongs: an inbox holds the messages with many people.
   * @param {Entry} entry
   */
  homeOf(entry) {
    if (!entry.room.startsWith("@")) return this.conversations.get(entry.room);
    if (entry.type !== "message")
      return [...this.conversations.values()].find((one) => one.direct && one.byOffset.has(entry.target));
    return this.conversation(`@${entry.from?.user === this.me ? entry.to : entry.from?.user}`);
  }

  // ---- events --------------------------------------------------------------------------------------

  /** @param {Welcome} welcome */
  welcome({ user, name, role, limits, rooms }) {
    if (this.me && this.me !== user) this.forgetDirects();
    Object.assign(this, { me: user, name, role: role ?? "user", limits: { ...this.limits, ...limits } });
    this.names.set(user, name);
    for (const state of rooms) this.joined(state);
    this.changed("me");
    this.changed("list");
  }

  /** @param {RoomState} state */
  joined(state) {
    if (state.room.startsWith("@")) {
      this.inbox.readTo = Math.max(this.inbox.readTo, state.read ?? 0);
      this.inbox.top = Math.max(this.inbox.top, state.offset);
      return;
    }
    const conversation = this.conversation(state.room);
    conversation.joined = true;
    conversation.memberCount = state.members ?? conversation.memberCount;
    conversation.topic = state.topic ?? "";
    conversation.counted(state);
    this.changed("list");
    this.changed("people", conversation);
  }

  /** @param {Left} left */
  left({ room }) {
    const conversation = this.conversations.get(room);
    if (!conversation) return;
    conversation.joined = false;
    conversation.members.clear();
    this.changed("list");
    this.changed("people", conversation);
  }

  /** @param {Entry} entry */
  message(entry) {
    const conversation = this.homeOf(entry);
    if (!conversation) return;
    if (entry.key) this.kept(conversation, entry.key);
    const known = conversation.byOffset.has(entry.offset);
    const message = conversation.put(entry);
    this.names.set(message.from.user, message.from.name);
    if (conversation.typing.delete(message.from.user)) this.changed("typing", conversation);
    if (entry.room.startsWith("@")) this.inbox.top = Math.max(this.inbox.top, entry.offset);
    const came = !known && message.from.user !== this.me;
    const forMe = came && this.came(conversation, message);
    if (conversation !== this.current) this.trim(conversation);
    this.changed("messages", conversation);
    this.changed("list");
    if (came) this.arrived(conversation, message, forMe);
  }

  /**
   * Count somebody else's new message. Returns whether it is for us in particular.
   * @param {Conversation} conversation
   * @param {Message} message
   */
  came(conversation, message) {
    const mentionsMe = message.mentions.includes(this.me) || message.mentions.includes(ROOM_MENTION);
    if (conversation !== this.current || !this.attentive()) {
      conversation.newAfter ??= conversation.readTo || message.offset - 1;
      if (conversation.direct) this.countDirect(conversation);
      else conversation.addUnread(message, mentionsMe);
    }
    return mentionsMe || conversation.direct;
  }

  /**
   * Let go of old messages; those of the inbox are then read again from where they end.
   * @param {Conversation} conversation
   */
  trim(conversation, least = 0) {
    if (conversation.loading || !conversation.trim(least) || !conversation.direct) return;
    Object.assign(this.inbox, { first: Math.max(this.inbox.first, conversation.first ?? 0), more: true });
  }

  /** @param {Entry} entry */
  changedMessage(entry) {
    const conversation = this.homeOf(entry);
    if (entry.room.startsWith("@")) this.inbox.top = Math.max(this.inbox.top, entry.offset);
    if (!conversation) return;
    const message = conversation.byOffset.get(entry.target);
    if (entry.type === "deleted" && !conversation.direct) conversation.uncount(entry, message, this.me);
    conversation.change(entry);
    if (entry.type === "deleted") {
      if (conversation.direct) this.countDirect(conversation);
      this.changed("list");
    }
    this.changed("messages", conversation);
  }

  /** @param {Gap} gap */
  gap({ room, from, to, changes = false }) {
    for (const conversation of this.homesOf(room)) {
      if (changes) conversation.top = Math.max(conversation.top, to);
      else conversation.lose(from, to);
      this.changed("messages", conversation);
    }
  }

  /** @param {Reset} reset */
  reset({ room, offset }) {
    if (room.startsWith("@")) Object.assign(this.inbox, { readTo: 0, top: offset, more: false });
    for (const conversation of this.homesOf(room)) {
      conversation.reset(offset);
      this.changed("messages", conversation);
    }
  }

  /**
   * Messages that are shown, as they stand now.
   * @param {string} room
   * @param {any} entries
   */
  stand(room, entries) {
    for (const conversation of this.homesOf(room)) {
      for (const entry of entries) if (conversation.byOffset.has(entry.offset)) conversation.put(entry);
      this.changed("messages", conversation);
    }
  }

  /** @param {string} room */
  homesOf(room) {
    return [...this.conversations.values()].filter((one) => (room.startsWith("@") ? one.direct : one.id === room));
  }

  /**
   * Returns whether the list of members has to be asked for again.
   * @param {Presence} change
   */
  presence(change) {
    const mine = change.renamed?.find(({ user }) => user === this.me);
    if (mine) {
      this.name = mine.name;
      this.changed("me");
    }
    const conversation = this.conversations.get(change.room);
    if (!conversation) return false;
    for (const { user, name } of [...(change.joined ?? []), ...(change.renamed ?? [])]) this.names.set(user, name);
    const complete = conversation.changeMembers(change);
    this.changed("people", conversation);
    return !complete;
  }

  /** The connection is gone: whoever was writing then is not known to write any more. */
  disconnected() {
    for (const conversation of this.conversations.values()) conversation.typing.clear();
    if (this.current) this.changed("typing", this.current);
  }

  /**
   * @param {Typing} typing
   * @param {number} now
   */
  typing({ room, user, name }, now) {
    const conversation = this.placeOf(room, user);
    if (!conversation || user === this.me) return;
    if (name) this.names.set(user, name);
    conversation.types(user, name || this.nameOf(user), now);
    this.changed("typing", conversation);
  }

  /** @param {Read} read */
  read({ room, user, offset }) {
    if (user === this.me) {
      this.readElsewhere(room, offset);
      return;
    }
    const conversation = this.placeOf(room, user);
    if (!conversation) return;
    conversation.readers.set(user, Math.max(offset, conversation.readers.get(user) ?? 0));
    this.changed("messages", conversation);
  }

  /**
   * Where it is shown what a user does in a room, or in our inbox: there it is about what we two write.
   * @param {string} room
   * @param {string} user
   */
  placeOf(room, user) {
    return this.conversations.get(room.startsWith("@") ? `@${user}` : room);
  }

  /**
   * On another of our own connections.
   * @param {string} room
   * @param {number} offset
   */
  readElsewhere(room, offset) {
    if (room.startsWith("@")) {
      this.inbox.readTo = Math.max(this.inbox.readTo, offset);
      for (const conversation of this.homesOf(room)) {
        conversation.readTo = Math.max(conversation.readTo, offset);
        this.countDirect(conversation);
      }
    } else {
      this.conversations.get(room)?.readElsewhere(offset, this.me);
    }
    this.changed("list");
  }

  // ---- what was asked for --------------------------------------------------------------------------

  /**
   * A page of a room's history; entries that are changes are in their messages already.
   * @param {Conversation} conversation
   * @param {Page} page
   */
  addPage(conversation, { messages, more }) {
    for (const entry of messages) if (entry.type === "message") this.addOld(conversation, entry);
    conversation.more = more && messages.length > 0;
  }

  /**
   * A page of the inbox.
   * @param {Page} page
   */
  addInboxPage({ messages, more }) {
    for (const entry of messages) {
      this.inbox.first = Math.min(this.inbox.first, entry.offset);
      if (entry.type !== "message") continue;
      const conversation = this.homeOf(entry);
      if (conversation) this.addOld(conversation, entry);
    }
    Object.assign(this.inbox, { more: more && messages.length > 0, loaded: true });
    for (const conversation of this.homesOf("@")) {
      conversation.more = this.inbox.more;
      this.countDirect(conversation);
    }
  }

  /**
   * @param {Conversation} conversation
   * @param {Entry} entry
   */
  addOld(conversation, entry) {
    // What came live is newer than a page that was asked for before it.
    const { from } = conversation.byOffset.get(entry.offset) ?? conversation.put(entry);
    if (!this.names.has(from.user)) this.names.set(from.user, from.name);
  }

  /**
   * @param {Conversation} conversation
   * @param {{members: Member[], count: number}} answer
   */
  setMembers(conversation, answer) {
    conversation.setMembers(answer);
    for (const { user, name } of answer.members) this.names.set(user, name);
    this.changed("people", conversation);
    this.changed("list");
    if (answer.members.some(({ role }) => role)) this.changed("messages", conversation); // which bear it
  }

  // ---- reading and writing -------------------------------------------------------------------------

  /**
   * The current conversation was looked at to its end. What to tell the server: places and offsets.
   * @returns {[string, number][]}
   */
  readCurrent() {
    return this.current ? this.readAll(this.current) : [];
  }

  /**
   * @param {Conversation} conversation
   * @returns {[string, number][]}
   */
  readAll(conversation) {
    if (!conversation.readAll()) return [];
    this.changed("list");
    return conversation.direct ? this.readDirect(conversation) : [[conversation.id, conversation.top]];
  }

  /**
   * Our inbox is read up to the first message that is unread with anybody; who wrote is told of theirs.
   * @param {Conversation} conversation
   * @returns {[string, number][]}
   */
  readDirect(conversation) {
    const theirs = conversation.lastOf(conversation.peer);
    /** @type {[string, number][]} */
    const marks = theirs && conversation.peer !== this.me ? [[conversation.id, theirs.offset]] : [];
    const unread = this.homesOf("@").flatMap((one) => this.unreadIn(one).map(({ offset }) => offset));
    const offset = unread.length ? Math.min(...unread) - 1 : this.inbox.top;
    if (offset > this.inbox.readTo) {
      this.inbox.readTo = offset;
      marks.push([`@${this.me}`, offset]);
    }
    return marks;
  }

  /** @param {Conversation} conversation */
  countDirect(conversation) {
    const unread = this.unreadIn(conversation);
    conversation.unread = unread.length;
    conversation.mentioned = unread.length > 0;
    if (!unread.length) return;
    const newAfter = unread[0].offset - 1;
    if (conversation.loaded) conversation.newAfter ??= newAfter;
    else conversation.newAfter = newAfter; // older ones may have come
  }

  /** @param {Conversation} conversation */
  unreadIn(conversation) {
    return [...conversation.byOffset.values()].filter((message) => conversation.isNews(message, this.me));
  }

  /**
   * One of our own messages has its place.
   * @param {Conversation} conversation
   * @param {string} key
   */
  kept(conversation, key) {
    conversation.outgoing = conversation.outgoing.filter((one) => one.key !== key);
  }

  forgetDirects() {
    for (const conversation of this.homesOf("@")) this.conversations.delete(conversation.id);
    this.inbox = { readTo: 0, first: Infinity, top: 0, more: true, loaded: false };
    if (this.current?.direct) this.current = null;
  }
}
