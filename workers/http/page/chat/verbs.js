/** Owns what a client can ask of the server: a method for each request of the protocol. */

/**
 * @typedef {{type: "ack", room?: string, epoch?: string, offset?: number, duplicate?: boolean}} Ack
 * @typedef {{type: "joined", room: string, epoch: string, offset: number, recovered?: boolean, members?: number,
 *   unread?: number, read?: number, mentions?: number[]}} Joined
 * @typedef {import("./wire.js").Entry} Message as it now stands, where it was missed or comes from `history`
 * @typedef {{type: "history", room: string, epoch: string, messages: Message[], more: boolean}} History
 * @typedef {{user: string, name: string, connections: number}} Member
 * @typedef {{type: "members", room: string, members: Member[], count: number, truncated: boolean}} Members
 * @typedef {{key?: string, data?: any, timeout?: number}} WriteOptions `data` instead of the text: any JSON;
 *   `timeout` in seconds, Infinity to wait for as long as the key is good
 * @typedef {{room?: string, seconds?: number, reason?: string}} Sanction without a room: everywhere
 * @typedef {{kind: "ban" | "mute", user: string, by: string, since: number, room?: string, until?: number,
 *   reason?: string, address?: boolean}} Sanctioned until then (ms; without: without end), and for the address of a guest
 * @typedef {{type: "sanctions", sanctions: Sanctioned[], count: number, truncated: boolean}} Sanctions the newest first
 */

/** The requests, without the connection that carries them. All but `read` and `typing` promise the server's answer. */
export class Verbs extends EventTarget {
  /**
   * Send it, again where that is needed, and wait for its answer. Rejects with ChatError.
   * @param {string} kind
   * @param {Record<string, any>} fields
   * @param {number} [timeout] seconds
   * @returns {Promise<any>}
   */
  request(kind, fields, timeout) {
    throw new Error(`nothing carries ${kind} ${Object.keys(fields)} (${timeout} s)`);
  }

  /**
   * Say it in a room. Resolves when the store has it; under the same key it is kept once.
   * @param {string} room
   * @param {string | null | undefined} text
   * @param {WriteOptions & {replyTo?: number, epoch?: string}} [options] `epoch` of the message that is answered
   * @returns {Promise<Ack>}
   */
  say(room, text, { replyTo, timeout, ...rest } = {}) {
    return this.request("say", { room, text, reply_to: replyTo, ...rest }, timeout);
  }

  /**
   * Say it to one user; the place is that in one's own inbox, and so is that of the message which it answers.
   * @param {string} to
   * @param {string | null | undefined} text
   * @param {WriteOptions & {replyTo?: number, epoch?: string}} [options]
   * @returns {Promise<Ack>}
   */
  direct(to, text, { replyTo, timeout, ...rest } = {}) {
    return this.request("direct", { to, text, reply_to: replyTo, ...rest }, timeout);
  }

  /**
   * Replace what a message says; with the message's `epoch` only where the log was not reset since.
   * @param {string} room
   * @param {number} offset
   * @param {string | null | undefined} text
   * @param {WriteOptions & {epoch?: string}} [options]
   * @returns {Promise<Ack>}
   */
  edit(room, offset, text, { timeout, ...rest } = {}) {
    return this.request("edit", { room, offset, text, ...rest }, timeout);
  }

  /**
   * Take a message back.
   * @param {string} room
   * @param {number} offset
   * @param {{key?: string, epoch?: string}} [options]
   * @returns {Promise<Ack>}
   */
  delete(room, offset, options = {}) {
    return this.request("delete", { room, offset, ...options });
  }

  /**
   * React to a message, or take the reaction back.
   * @param {string} room
   * @param {number} offset
   * @param {string} emoji
   * @param {{remove?: boolean, key?: string, epoch?: string}} [options]
   * @returns {Promise<Ack>}
   */
  react(room, offset, emoji, { remove, key, epoch } = {}) {
    return this.request("react", { room, offset, emoji, remove: remove || undefined, key, epoch });
  }

  /**
   * Join a room; with `since`, what was missed follows as events.
   * @param {string} room
   * @param {{since?: {epoch: string, offset: number}}} [options]
   * @returns {Promise<Joined>}
   */
  join(room, { since } = {}) {
    return this.request("join", { room, since });
  }

  /** @param {string} room */
  leave(room) {
    return this.request("leave", { room });
  }

  /**
   * A page of the log, oldest first, next to one of the two offsets; without them the latest.
   * @param {string} room
   * @param {{before?: number, after?: number, limit?: number}} [options]
   * @returns {Promise<History>}
   */
  history(room, { before, after, limit } = {}) {
    return this.request("history", { room, before, after, limit });
  }

  /**
   * @param {string} room
   * @returns {Promise<Members>}
   */
  members(room) {
    return this.request("members", { room });
  }

  /**
   * Be called otherwise from now on, after a reconnect too.
   * @param {string} name
   * @returns {Promise<Ack>}
   */
  rename(name) {
    return this.request("rename", { name });
  }

  /**
   * Present a fresh token of the same user before the old one expires.
   * @param {string} token
   */
  renew(token) {
    return this.request("hello", { token });
  }

  /**
   * Close a user's connections, or put them out of a room. This and the next four are for moderators.
   * @param {string} user
   * @param {Sanction} [options]
   * @returns {Promise<Ack>}
   */
  kick(user, options = {}) {
    return this.request("kick", { user, ...options });
  }

  /**
   * Keep a user out, for ever where no seconds are given.
   * @param {string} user
   * @param {Sanction} [options]
   * @returns {Promise<Ack>}
   */
  ban(user, options = {}) {
    return this.request("ban", { user, ...options });
  }

  /**
   * Let a user read, but not say.
   * @param {string} user
   * @param {Sanction} [options]
   * @returns {Promise<Ack>}
   */
  mute(user, options = {}) {
    return this.request("mute", { user, ...options });
  }

  /**
   * @param {string} user
   * @param {Sanction} [options]
   * @returns {Promise<Ack>}
   */
  unban(user, options = {}) {
    return this.request("unban", { user, ...options });
  }

  /**
   * @param {string} user
   * @param {Sanction} [options]
   * @returns {Promise<Ack>}
   */
  unmute(user, options = {}) {
    return this.request("unmute", { user, ...options });
  }

  /**
   * The bans and mutes that hold in a room; without a room all of them. For moderators.
   * @param {string} [room]
   * @returns {Promise<Sanctions>}
   */
  sanctions(room) {
    return this.request("sanctions", { room });
  }

  /**
   * Be told by Web Push while the page is closed: of mentions in `rooms`, and of direct messages but those of `silent`
   * users. The key for `PushManager.subscribe` is in `welcome.push`, where the server has push.
   * @param {{endpoint: string, p256dh: string, auth: string, rooms?: string[], silent?: string[], quiet_until?: number}}
   *   subscription `quiet_until` in ms since 1970
   * @returns {Promise<Ack>}
   */
  subscribe(subscription) {
    return this.request("subscribe", subscription);
  }

  /**
   * @param {string} endpoint
   * @returns {Promise<Ack>}
   */
  unsubscribe(endpoint) {
    return this.request("unsubscribe", { endpoint });
  }

  /** A round trip to the chat; the answer has the server's time. */
  ping() {
    return this.request("ping", {});
  }
}
