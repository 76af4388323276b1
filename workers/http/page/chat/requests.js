/**
 * Owns the requests that wait for an answer, and which of them to send now. Pure.
 *
 * A request stays until it is answered: after a new connection's `welcome` it is sent again, and what writes carries
 * the same key each time, so that the server keeps it once. Requests of one room go one after the other (a lane), because
 * a refused one that is tried again must not end up behind what was said after it.
 */
import { ChatError } from "./errors.js";
import { spelled } from "./spelling.js";

const WITH_KEY = new Set(["say", "direct", "edit", "delete", "react"]);
const IN_LANE = new Set(["say", "edit", "delete", "react", "join", "leave"]);
const NAMES = ["room", "user", "to"]; // fields with the name of a room or a user
const AT_ONCE = 16; // in flight; more after a long absence would be refused as too fast
const KEY_TTL = 600; // seconds, until the server says otherwise
const MARGIN = 0.9; // of it: the way to the server takes time too

/**
 * @typedef {object} Request
 * @property {number} id
 * @property {string} kind
 * @property {Record<string, any>} fields
 * @property {string} lane "" where order does not matter
 * @property {boolean} sent on this connection, and not refused since
 * @property {number} firstSent ms; 0: never
 * @property {number} notBefore ms
 */

/**
 * It writes, and a server may have carried it out: only the same user's same key keeps it from being twice.
 * @param {Request} request
 */
export function mayBeDone({ kind, firstSent }) {
  return WITH_KEY.has(kind) && firstSent > 0;
}

/** The requests of one client, in the order they were made. */
export class Requests {
  /**
   * @param {string} keyPrefix makes this client's keys its own: some random letters
   * @param {number} most how many may wait
   */
  constructor(keyPrefix, most) {
    this.keyPrefix = keyPrefix;
    this.most = most;
    this.keyTtl = KEY_TTL;
    /** Bytes of a text or of data, once the server has said it. */
    this.messageSize = Infinity;
    this.lastId = 0;
    /** @type {Map<number, Request>} */
    this.pending = new Map();
  }

  /**
   * Note a request; members that are undefined are left out, and a text that is null. Throws ChatError `queue_full`, or
   * `bad_request` or `too_large` for what the server would not take.
   * @param {string} kind
   * @param {Record<string, any>} fields
   * @returns {Request}
   */
  add(kind, fields) {
    if (this.pending.size >= this.most) throw new ChatError("queue_full", `${this.most} requests wait already`);
    const id = ++this.lastId;
    const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
    if (given.text === null) delete given.text;
    for (const name of NAMES) if (name in given) given[name] = spelled(given[name]);
    this.checkContent(given);
    if (WITH_KEY.has(kind)) given.key ??= `${this.keyPrefix}${id}`;
    const lane = kind === "direct" ? `@${given.to}` : IN_LANE.has(kind) ? given.room : "";
    const request = { id, kind, fields: given, lane, sent: false, firstSent: 0, notBefore: 0 };
    this.pending.set(id, request);
    return request;
  }

  /** @param {Record<string, any>} given */
  checkContent({ text, data }) {
    if (text !== undefined && typeof text !== "string")
      throw new ChatError("bad_request", "the text is a string; data is an option behind it, { data }", "text");
    const content = text ?? (data === undefined ? "" : JSON.stringify(data));
    const size = content.length * 3 > this.messageSize ? new TextEncoder().encode(content).length : 0;
    if (size > this.messageSize) {
      const field = text === undefined ? "data" : "text";
      throw new ChatError("too_large", `${size} bytes, and ${this.messageSize} are allowed`, field);
    }
  }

  /**
   * Take a request out, answered or given up.
   * @param {unknown} id
   * @returns {Request | undefined}
   */
  take(id) {
    const request = this.pending.get(/** @type {number} */ (id));
    if (request) this.pending.delete(request.id);
    return request;
  }

  /** The connection is gone: whatever was sent on it may not have arrived. */
  lost() {
    for (const request of this.pending.values()) request.sent = false;
  }

  /**
   * What to send now; what cannot be sent again, because its key may be forgotten; when to look again.
   * @param {number} now ms
   * @returns {{send: Request[], expired: Request[], wakeAt: number}}
   */
  next(now) {
    const send = [];
    const expired = [];
    const busy = new Set();
    let flying = 0;
    let wakeAt = Infinity;
    for (const request of this.pending.values()) {
      if (busy.has(request.lane)) continue;
      if (this.isExpired(request, now)) {
        expired.push(request);
        continue;
      }
      if (request.lane) busy.add(request.lane);
      if (request.sent) flying += 1;
      else if (request.notBefore > now) wakeAt = Math.min(wakeAt, request.notBefore);
      else if (flying < AT_ONCE) {
        flying += 1;
        send.push(request);
      }
    }
    return { send, expired, wakeAt };
  }

  /**
   * @param {Request} request
   * @param {number} now
   */
  isExpired(request, now) {
    const lifetime = this.keyTtl * 1000 * MARGIN;
    return !request.sent && mayBeDone(request) && now - request.firstSent > lifetime;
  }
}
