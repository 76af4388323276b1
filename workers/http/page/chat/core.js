/**
 * Owns the client's side of the protocol without any I/O: the rooms and the places in them, and what follows from
 * each message of the server. Messages come in by `receive`, actions go out; the shell (`chat.js`) carries them out.
 */
/** @import { Entry, From, Gap, RoomState, Welcome } from "./wire.js" */
import { ChatError } from "./errors.js";
import { DROP, Place, RESUME, SHOW_AFTER_HOLE } from "./places.js";
import { mayBeDone, Requests } from "./requests.js";
import { spelled } from "./spelling.js";

const ENTRIES = new Set(["message", "edited", "deleted", "reacted"]);
const WORTH_A_RETRY = new Set(["rate_limited", "refused", "unavailable", "internal"]);
const RETRY_AFTER = 1000; // ms, where the server does not say
const HELLO = 0; // the id of the hello that opens a connection

/**
 * @typedef {{do: "tell", type: string, detail: any}} Tell show this to the application
 * @typedef {{do: "send", message: object}} Send
 * @typedef {{do: "finish", id: number, answer?: any, error?: ChatError}} Finish a request has its answer
 * @typedef {{do: "resume"}} Resume something is missing: cut the connection, come back with the places as they are
 * @typedef {{do: "stay away", reason: string}} StayAway the server does not let us in, and would not the next time
 * @typedef {Tell | Send | Finish | Resume | StayAway} Action
 */

/**
 * @param {string} type
 * @param {any} detail
 * @returns {Tell}
 */
const tell = (type, detail) => ({ do: "tell", type, detail });

/** One client, over all its connections. */
export class Core {
  /** @param {{rooms: string[], name?: string, keyPrefix: string, most: number}} options */
  constructor({ rooms, name, keyPrefix, most }) {
    this.name = name;
    this.token = ""; // of this connection's hello
    this.helloAt = Infinity; // when to say it again, ms
    this.user = "";
    this.guestToken = "";
    this.renewedToken = ""; // instead of the one that the program began with
    this.online = false; // between `welcome` and the end of the connection
    this.requests = new Requests(keyPrefix, most);
    /** @type {Map<string, Place>} */
    this.rooms = new Map(rooms.map((room) => [spelled(room), new Place()]));
    /** @type {Map<string, number>} how far the user has read */
    this.readUpTo = new Map();
    /** @type {any} what the server said before it closes */
    this.bye = null;
    /** @type {Map<string, number>} rooms that are behind, and the offset at which they no longer are */
    this.behind = new Map();
    this.missed = { recovered: 0, lost: 0, resets: 0 };
  }

  // ---- towards the server ----------------------------------------------------------------------

  /**
   * The first message of a connection.
   * @param {string} token
   */
  hello(token) {
    this.bye = null;
    this.helloAt = Infinity;
    const rooms = [...this.rooms].map(([room, { position }]) => (position ? { room, since: position } : { room }));
    this.token = token || this.guestToken;
    // JSON leaves out what is undefined.
    return { type: "hello", id: HELLO, rooms, token: this.token || undefined, name: this.name || undefined };
  }

  /**
   * Make a request. It goes out when its turn comes, see `due`.
   * @param {string} kind
   * @param {Record<string, any>} fields
   */
  ask(kind, fields) {
    const request = this.requests.add(kind, fields);
    if (kind === "join") {
      const place = this.enter(request.fields.room);
      if (fields.since) place.position = fields.since;
    }
    if (kind === "leave") this.rooms.delete(request.fields.room);
    return request;
  }

  /**
   * What is to be sent now, and when to ask again (ms; Infinity: when something happens).
   * @param {number} now ms
   * @returns {{actions: Action[], wakeAt: number}}
   */
  due(now) {
    if (!this.online) return this.helloDue(now);
    const { send, expired, wakeAt } = this.requests.next(now);
    /** @type {Action[]} */
    const actions = expired.map((request) => this.giveUp(request.id, "its key may be forgotten by now"));
    for (const request of send) {
      request.sent = true;
      request.firstSent ||= now;
      actions.push({ do: "send", message: { type: request.kind, id: request.id, ...request.fields } });
      actions.push(tell("sent", { kind: request.kind, key: request.fields.key, room: request.fields.room }));
    }
    return { actions, wakeAt };
  }

  /**
   * @returns {{actions: Action[], wakeAt: number}}
   * @param {number} now
   */
  helloDue(now) {
    if (this.helloAt > now) return { actions: [], wakeAt: this.helloAt };
    return { actions: [{ do: "send", message: this.hello(this.token) }], wakeAt: Infinity };
  }

  /**
   * No answer came in time: nobody knows whether it was done.
   * @param {number} id
   * @param {string} why
   * @returns {Action}
   */
  giveUp(id, why) {
    this.requests.take(id);
    return { do: "finish", id, error: new ChatError("outcome_unknown", `no answer: ${why}`) };
  }

  /**
   * Note how far the user has read; what to send now, if anything.
   * @param {string} room
   * @param {number} offset
   * @returns {object | null}
   */
  markRead(room, offset) {
    room = spelled(room);
    if (offset <= (this.readUpTo.get(room) ?? 0)) return null;
    this.readUpTo.set(room, offset);
    return this.online ? { type: "read", room, offset } : null;
  }

  /** The connection ended. */
  lost() {
    this.online = false;
    this.helloAt = Infinity;
    this.requests.lost();
  }

  /**
   * The server does not know the guest that we were: come as a new one, without the old one's inbox. What was sent and has
   * no answer is given up: a key is its user's own, so what the stranger says under it is said twice if the guest had
   * said it.
   * @returns {Action[]}
   */
  becomeStranger() {
    this.guestToken = "";
    this.renewedToken = "";
    this.rooms.delete(`@${this.user}`);
    this.user = "";
    const sent = [...this.requests.pending.values()].filter(mayBeDone);
    return sent.map(({ id }) => this.giveUp(id, "the server does not know this guest any more"));
  }

  // ---- from the server -------------------------------------------------------------------------

  /**
   * What a message of the server makes necessary.
   * @param {any} message
   * @param {number} now ms
   * @returns {Action[]}
   */
  receive(message, now) {
    const { type } = message;
    if (ENTRIES.has(type)) return this.receiveEntry(message);
    if (type === "gap") return this.receiveGap(message);
    if (type === "reset") return this.receiveReset(message);
    if (type === "welcome" && (message.id === HELLO || !this.online)) return this.receiveWelcome(message);
    if (type === "error") return this.receiveError(message, now);
    if (type === "bye") this.bye = message;
    if (type === "presence") this.receiveNames(message);
    if (type === "left" && message.id === undefined) this.rooms.delete(message.room);
    if (type === "joined") this.enter(message.room).entered(message.epoch, message.offset);
    if (message.id === undefined) return [tell(type, message)];
    return this.receiveAnswer(message);
  }

  /**
   * @returns {Action[]}
   * @param {Entry} entry
   */
  receiveEntry(entry) {
    const place = this.rooms.get(entry.room);
    if (!place) return []; // left already: it was on its way
    const known = place.position?.offset ?? 0;
    const verdict = place.judge(entry.epoch, entry.offset);
    if (verdict === DROP) return [];
    if (verdict === RESUME) return [{ do: "resume" }];
    /** @type {Action[]} */
    const actions = [];
    if (verdict === SHOW_AFTER_HOLE) {
      actions.push(...this.miss(entry.room, entry.epoch, known + 1, entry.offset - 1));
    }
    if (entry.type === "message" && entry.offset <= (this.behind.get(entry.room) ?? 0)) this.missed.recovered += 1;
    actions.push(tell(entry.type, entry), ...this.caughtUp(entry.room, entry.offset));
    return actions;
  }

  /**
   * More may be missing than the server thinks, or less.
   * @param {Gap} gap
   * @returns {Action[]}
   */
  receiveGap({ room, epoch, from, to, changes = false }) {
    const place = this.rooms.get(room);
    if (!place) return [];
    const known = place.position?.offset ?? from - 1;
    const verdict = place.judge(epoch, from, to);
    if (verdict === DROP) return [];
    if (verdict === RESUME) return [{ do: "resume" }];
    // Only changes are gone, of messages that are still there: `history` shows what they did.
    const told = { type: "gap", room, epoch, from: known + 1, to, changes: true };
    const effects = changes && known + 1 >= from ? [tell("gap", told)] : this.miss(room, epoch, known + 1, to);
    return [...effects, ...this.caughtUp(room, to)];
  }

  /**
   * @returns {Action[]}
   * @param {any} reset
   */
  receiveReset(reset) {
    const place = this.rooms.get(reset.room);
    if (!place) return [];
    place.moved(reset.epoch, reset.offset);
    this.missed.resets += 1;
    return [tell("reset", reset), ...this.caughtUp(reset.room, reset.offset)];
  }

  /**
   * @returns {Action[]}
   * @param {string} room
   * @param {string} epoch
   * @param {number} from
   * @param {number} to
   */
  miss(room, epoch, from, to) {
    this.missed.lost += to - from + 1;
    return [tell("gap", { type: "gap", room, epoch, from, to })];
  }

  /**
   * The user got another name on another connection: the next hello must not bring the old one back.
   * @param {{renamed?: From[]}} presence
   */
  receiveNames({ renamed = [] }) {
    for (const { user, name } of renamed) if (user === this.user) this.name = name;
  }

  /**
   * @returns {Action[]}
   * @param {Welcome} welcome
   */
  receiveWelcome(welcome) {
    const again = this.user === welcome.user;
    this.online = true;
    this.user = welcome.user;
    this.name = welcome.name;
    this.guestToken = welcome.token ?? this.guestToken;
    this.requests.keyTtl = welcome.limits?.key_ttl ?? this.requests.keyTtl;
    this.requests.messageSize = welcome.limits?.message_size ?? Infinity;
    this.missed = { recovered: 0, lost: 0, resets: 0 };
    this.behind.clear();
    const entered = new Map(welcome.rooms.map((state) => [state.room, state]));
    for (const state of welcome.rooms) this.enterAgain(state);
    /** @type {Action[]} */
    const actions = [tell("welcome", welcome), ...this.settle(entered), ...this.dropRefused(entered)];
    for (const [room, offset] of this.readUpTo) {
      if (entered.has(room)) actions.push({ do: "send", message: { type: "read", room, offset } });
    }
    return again ? [...actions, ...this.caughtUp("", 0)] : actions;
  }

  /** @param {RoomState} state */
  enterAgain({ room, epoch, offset, recovered }) {
    const place = this.enter(room);
    const known = place.position;
    place.entered(epoch, offset);
    if (known && (known.offset < offset || recovered === false)) this.behind.set(room, offset);
  }

  /**
   * What the hello has settled is done.
   * @param {any} entered
   * @returns {Action[]}
   */
  settle(entered) {
    /** @type {Action[]} */
    const actions = [];
    for (const { id, kind, fields } of [...this.requests.pending.values()]) {
      if (kind === "leave" || (kind === "join" && entered.has(fields.room))) {
        this.requests.take(id);
        const type = kind === "join" ? "joined" : "left";
        const answer = { ...entered.get(fields.room), type, room: fields.room };
        actions.push(tell(type, answer), { do: "finish", id, answer });
      }
    }
    return actions;
  }

  /**
   * @returns {Action[]}
   * @param {any} entered
   */
  dropRefused(entered) {
    const asked = [...this.requests.pending.values()]
      .filter((one) => one.kind === "join")
      .map((one) => one.fields.room);
    const refused = [...this.rooms.keys()].filter((room) => !entered.has(room) && !asked.includes(room));
    for (const room of refused) this.rooms.delete(room);
    return refused.map((room) => tell("left", { type: "left", room, reason: "refused" }));
  }

  /**
   * @returns {Action[]}
   * @param {any} error
   * @param {number} now
   */
  receiveError(error, now) {
    if (error.id === HELLO && !this.online) return this.helloRefused(error, now);
    const request = this.requests.pending.get(error.id);
    if (!request) return [tell("error", error)];
    if (WORTH_A_RETRY.has(error.code)) {
      request.sent = false;
      request.notBefore = now + (error.retry_after_ms ?? RETRY_AFTER);
      const { code, message } = error;
      return [tell("retrying", { kind: request.kind, key: request.fields.key, code, message, at: request.notBefore })];
    }
    this.requests.take(request.id);
    if (request.kind === "join") this.rooms.delete(request.fields.room);
    return [{ do: "finish", id: request.id, error: new ChatError(error.code, error.message, error.field) }];
  }

  /**
   * What passes is waited for; a name that is not allowed here costs the name, not the way in.
   * @param {any} error
   * @param {number} now
   * @returns {Action[]}
   */
  helloRefused(error, now) {
    if (WORTH_A_RETRY.has(error.code)) {
      this.helloAt = now + (error.retry_after_ms ?? RETRY_AFTER);
      const { code, message } = error;
      return [tell("retrying", { kind: "hello", code, message, at: this.helloAt })];
    }
    if (error.field !== "name" || !this.name) {
      return [tell("error", error), { do: "stay away", reason: `${error.code}: ${error.message}` }];
    }
    this.name = undefined;
    return [tell("error", error), { do: "send", message: this.hello(this.token) }];
  }

  /**
   * Answers that an application shows are told as events too; one that nobody waits for was given up, or came twice.
   * @param {any} message
   * @returns {Action[]}
   */
  receiveAnswer(message) {
    const request = this.requests.take(message.id);
    if (!request) return [];
    if (request.kind === "rename") this.name = request.fields.name;
    if (request.kind === "hello") this.renewedToken = request.fields.token ?? this.renewedToken;
    /** @type {Action[]} */
    const told = ["joined", "left", "welcome"].includes(message.type) ? [tell(message.type, message)] : [];
    return [...told, { do: "finish", id: request.id, answer: message }];
  }

  // ---- inside ----------------------------------------------------------------------------------

  /** @param {string} room */
  enter(room) {
    const place = this.rooms.get(room) ?? new Place();
    this.rooms.set(room, place);
    return place;
  }

  /**
   * After a reconnect: everything that was missed is here, or known to be lost.
   * @param {string} room
   * @param {number} offset
   * @returns {Action[]}
   */
  caughtUp(room, offset) {
    const target = this.behind.get(room);
    if (target !== undefined && offset >= target) this.behind.delete(room);
    else if (room) return [];
    return this.behind.size === 0 ? [tell("caughtup", { ...this.missed })] : [];
  }
}
