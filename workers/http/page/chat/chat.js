/**
 * A client of the chat for browsers and Node, without dependencies: back by itself after whatever happens, each message
 * of a room in order and once, each request of yours done once.
 *
 *     import { connect } from "https://chat.example.org/chat.js";
 *
 *     const chat = connect("wss://chat.example.org/", { rooms: ["lobby"], name: "Ada", storage: localStorage });
 *     chat.on("message", ({ from, text }) => console.log(from.name, text));
 *     await chat.say("lobby", "Hello!"); // the store has it
 *
 * Events are the server's messages by their `type` (`welcome`, `joined`, `left`, `message`, `edited`, `deleted`,
 * `reacted`, `presence`, `typing`, `read`, `gap`, `reset`, `error`, `bye`) and the client's own: `state` (see State),
 * `caughtup` ({recovered, lost, resets}, after a reconnect), `sent` and `retrying` (about a request).
 */
/** @import { Events, Welcome } from "./wire.js" */

import { Core } from "./core.js";
import { ChatError } from "./errors.js";
import { INTERNAL_ERROR, LOST, POLICY, ReconnectPolicy, UNAUTHORIZED } from "./reconnect.js";
import { spelled } from "./spelling.js";
import { Verbs } from "./verbs.js";

export { ChatError };

const SUBPROTOCOL = "chat.v1.json";
const TIMEOUT = 60; // seconds for a request, over all connections it takes
const MOST_WAITING = 200; // requests
const PONG_WITHIN = 10_000; // ms; a browser does not tell us about the server's own pings
const OPEN_WITHIN = 20_000;
const SUSPICIOUS = 3; // connections, none of which opened
const REFUSED =
  "the server answers, but opens no connection: a proxy before it may not pass on Host, Upgrade and Connection, " +
  "or the server does not allow pages of this origin";
const NO_SOCKET =
  "there is no WebSocket class here: hand one over, as connect(url, { WebSocket }), for example that of the package " +
  "`ws` where Node.js has none of its own";
const STORAGE_KEY = "chatmaster.guest";

/**
 * @typedef {object} Options
 * @property {string[]} [rooms] to join from the start
 * @property {string} [name] to be called
 * @property {string | (() => string | Promise<string>)} [token] or what gives a fresh one for each connection
 * @property {Pick<Storage, "getItem" | "setItem" | "removeItem">} [storage] keeps a guest's identity, so that the
 *   same guest comes back after a reload
 * @property {string} [storageKey]
 * @property {number} [timeout] seconds until a request gives up
 * @property {number} [queue] the most requests that may wait for an answer
 * @property {any} [WebSocket] the class, where there is no global one
 * @property {() => number} [random]
 *
 * @typedef {object} State
 * @property {"connecting" | "connected" | "waiting" | "closed"} state `closed`: it does not come back by itself
 * @property {number} [retryAt] ms since 1970: when it tries again
 * @property {number} [code] how the last connection ended
 * @property {string} [reason]
 * @property {boolean} [refused] the server answers HTTP, but opens no connection: most likely it does not allow the
 *   origin of this page, or a proxy passes no WebSocket on
 */

/**
 * A client that connects at once and stays connected until `close`.
 * @param {string | URL} url
 * @param {Options} [options]
 * @returns {Chat}
 */
export function connect(url, options = {}) {
  const chat = new Chat(url, options);
  chat.open();
  return chat;
}

/** One client, over all its connections. Made by `connect`. */
export class Chat extends Verbs {
  /**
   * @param {string | URL} url
   * @param {Options} options
   */
  constructor(url, options) {
    super();
    if (typeof (options.WebSocket ?? globalThis.WebSocket) !== "function") throw new Error(NO_SOCKET);
    this.url = String(url);
    this.options = options;
    const keyPrefix = `${Array.from(crypto.getRandomValues(new Uint32Array(2)), (n) => n.toString(36)).join("")}-`;
    this.core = new Core({
      rooms: options.rooms ?? [],
      name: options.name,
      keyPrefix,
      most: options.queue ?? MOST_WAITING,
    });
    this.core.guestToken = this.stored("getItem") ?? "";
    this.reconnect = new ReconnectPolicy(options.random ?? Math.random, typeof options.token !== "string");
    /** @type {State} */
    this.state = { state: "connecting" };
    /** @type {any} */
    this.ws = null;
    this.opened = false; // some connection
    this.complaint = ""; // the last failure of the program that the console was told
    this.tried = 0; // connections
    this.refused = false; // none opens, although the server is there
    this.answered = false; // this connection got as far as `welcome`
    this.given = ""; // the program's token for this connection
    this.heardAt = 0;
    this.askedAt = 0; // whether the connection lives; later than `heardAt`: no answer yet
    this.pingInterval = 25_000;
    /** @type {Map<number, {resolve: (answer: any) => void, reject: (error: Error) => void, timer: any}>} */
    this.waiting = new Map();
    /** @type {Record<string, any>} */
    this.timers = { retry: undefined, wake: undefined, watch: undefined };
  }

  /** Who the server says we are; "" before the first `welcome`. */
  get user() {
    return this.core.user;
  }

  get name() {
    return this.core.name ?? "";
  }

  /** Where we are in each room. */
  get rooms() {
    return new Map([...this.core.rooms].map(([room, place]) => [room, place.position]));
  }

  /**
   * Call `listener` with the detail of each event of that type; returns what ends it.
   * @template {keyof Events} T
   * @param {T} type
   * @param {(detail: Events[T]) => void} listener
   * @returns {() => void}
   */
  on(type, listener) {
    const handle = (/** @type {any} */ event) => listener(event.detail);
    this.addEventListener(type, handle);
    return () => this.removeEventListener(type, handle);
  }

  /**
   * Say how far one has read; kept for the next connection where there is none. With a user, as `@bob`, that user is
   * told how far one has read their direct messages; the offset is the place of the last one in one's own inbox.
   * @param {string} room
   * @param {number} offset
   */
  read(room, offset) {
    const message = this.core.markRead(room, offset);
    if (message) this.send(message);
  }

  /**
   * Say that one is writing, in a room or to a user, as `@bob`; dropped while there is no connection.
   * @param {string} room
   */
  typing(room) {
    if (this.core.online) this.send({ type: "typing", room: spelled(room) });
  }

  /** Connect now: instead of waiting any longer, or after it had ended. */
  open() {
    if (this.ws) return;
    clearTimeout(this.timers.retry);
    this.become({ state: "connecting", ...(this.refused && { refused: true, reason: REFUSED }) });
    this.dial().catch((error) => this.state.state !== "closed" && this.ended(LOST, String(error?.message ?? error)));
  }

  /** The network or the machine may be back: look whether the connection lives, and do not wait for no reason. */
  nudge() {
    if (this.core.online) this.checkAlive(true);
    else if (this.state.state === "waiting" && !this.core.bye) this.open();
  }

  /** Leave. What waits for an answer gets ChatError `ended`. */
  close() {
    this.letGo(1000);
    this.finish({ state: "closed", code: 1000, reason: "closed by this side" });
  }

  // ---- one connection ------------------------------------------------------------------------------

  async dial() {
    const marker = {};
    this.ws = marker; // taken, while the token is fetched
    const { token } = this.options;
    const given = typeof token === "function" ? await token() : this.core.renewedToken || token;
    if (this.ws !== marker) return;
    this.given = given ?? "";
    const Socket = this.options.WebSocket ?? globalThis.WebSocket;
    const ws = new Socket(this.url, SUBPROTOCOL);
    this.ws = ws;
    this.answered = false;
    this.askedAt = 0;
    this.tried += 1;
    ws.onopen = () => {
      this.opened = true;
      this.refused = false;
      ws.send(JSON.stringify(this.core.hello(this.given)));
    };
    ws.onmessage = (/** @type {MessageEvent} */ { data }) => this.received(data);
    ws.onclose = (/** @type {CloseEvent} */ { code, reason }) => this.ended(code, reason);
    ws.onerror = () => {}; // a close follows, and says as much as there is to know
    this.timers.watch = setTimeout(() => this.cut("no answer"), OPEN_WITHIN);
  }

  /** @param {unknown} data */
  received(data) {
    this.heardAt = Date.now();
    let message;
    try {
      message = JSON.parse(String(data));
    } catch {
      return;
    }
    if (message.type === "welcome") this.welcomed(message);
    this.carryOut(this.core.receive(message, Date.now()));
    this.pump();
  }

  /** @param {Welcome} welcome */
  welcomed(welcome) {
    const first = !this.answered;
    this.answered = true;
    if (welcome.token) this.stored("setItem", welcome.token);
    if (welcome.ping_interval) this.pingInterval = welcome.ping_interval * 1000;
    clearTimeout(this.timers.watch);
    this.timers.watch = setTimeout(() => this.checkAlive(), this.pingInterval);
    if (first) this.become({ state: "connected" });
  }

  /** Where nothing was heard for long, ask; where no answer comes, the connection is dead without knowing. */
  checkAlive(now = false) {
    if (now && this.askedAt > this.heardAt) return; // it is being looked at
    clearTimeout(this.timers.watch);
    if (!now && Date.now() - this.heardAt < this.pingInterval) {
      this.timers.watch = setTimeout(() => this.checkAlive(), this.pingInterval);
      return;
    }
    this.askedAt = Date.now();
    this.send({ type: "ping" });
    this.timers.watch = setTimeout(() => {
      if (this.heardAt < this.askedAt) this.cut("no answer to a ping");
      else this.checkAlive();
    }, PONG_WITHIN);
  }

  /**
   * Do not wait for the closing handshake of a connection that is of no use.
   * @param {string} reason
   */
  cut(reason, code = LOST) {
    this.letGo();
    this.ended(code, reason);
  }

  /** @param {number} [code] */
  letGo(code) {
    const ws = this.ws;
    this.ws = null;
    if (!ws?.close) return;
    ws.onopen = ws.onmessage = ws.onclose = null;
    ws.close(code);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  ended(code, reason) {
    this.ws = null;
    if (code === INTERNAL_ERROR) console.error(`chatmaster: the server failed and closed the connection: ${reason}`);
    clearTimeout(this.timers.watch);
    this.core.lost();
    const { bye } = this.core;
    // `bye` may come and the close frame be lost; it says the same.
    const end = bye
      ? { code: bye.code, reason: bye.reason, retryAfter: bye.retry_after_ms, answered: this.answered }
      : { code, reason, answered: this.answered };
    const delay = this.reconnect.after(end);
    this.answered = false;
    if (end.code === UNAUTHORIZED && !(this.options.token && this.given)) this.becomeStranger();
    if (delay === null) {
      this.finish({ state: "closed", code: end.code, reason: end.reason });
      return;
    }
    this.timers.retry = setTimeout(() => this.open(), delay);
    this.become({ state: "waiting", retryAt: Date.now() + delay, code: end.code, reason: end.reason });
    if (this.refused) this.tellRefused();
    if (!this.opened && this.tried >= SUSPICIOUS) this.lookForServer();
  }

  /** A browser does not say why a connection could not be made: a refused origin looks like a server that is away. */
  async lookForServer() {
    try {
      const address = new URL("health", this.url.replace(/^ws/, "http"));
      const answer = await fetch(address, { mode: "no-cors", cache: "no-store" });
      this.refused = !this.opened && (answer.ok || answer.type === "opaque");
    } catch {
      this.refused = false; // it is away
    }
    if (this.refused) this.tellRefused();
  }

  /** It goes on trying: a server behind a proxy that is there alone looks the same. */
  tellRefused() {
    if (this.state.state === "waiting") this.become({ ...this.state, refused: true, reason: REFUSED });
  }

  becomeStranger() {
    this.carryOut(this.core.becomeStranger());
    this.stored("removeItem");
  }

  /** @param {any} state */
  finish(state) {
    clearTimeout(this.timers.retry);
    clearTimeout(this.timers.wake);
    clearTimeout(this.timers.watch);
    this.core.lost();
    for (const id of [...this.waiting.keys()]) {
      this.core.requests.take(id);
      this.settle(id, undefined, new ChatError("ended", state.reason || "the connection has ended"));
    }
    this.become(state);
  }

  // ---- requests ------------------------------------------------------------------------------------

  /**
   * @param {string} kind
   * @param {Record<string, any>} fields
   * @param {number} [timeout] seconds
   * @returns {Promise<any>}
   * @override
   */
  request(kind, fields, timeout = this.options.timeout ?? TIMEOUT) {
    return new Promise((resolve, reject) => {
      if (this.state.state === "closed") throw new ChatError("ended", "the client is closed");
      const { id } = this.core.ask(kind, fields);
      const giveUp = () => {
        this.carryOut([this.core.giveUp(id, `within ${timeout} s`)]);
        this.pump(); // others of its room may have waited for it
      };
      const timer = Number.isFinite(timeout) ? setTimeout(giveUp, timeout * 1000) : undefined;
      this.waiting.set(id, { resolve, reject, timer });
      this.pump();
    });
  }

  /** Send what is due, and come back when more is. */
  pump() {
    clearTimeout(this.timers.wake);
    const now = Date.now();
    const { actions, wakeAt } = this.core.due(now);
    if (wakeAt !== Infinity) this.timers.wake = setTimeout(() => this.pump(), Math.max(0, wakeAt - now));
    this.carryOut(actions);
  }

  /** @param {import("./core.js").Action[]} actions */
  carryOut(actions) {
    for (const action of actions) {
      if (action.do === "tell") this.tell(action.type, action.detail);
      else if (action.do === "send") this.send(action.message);
      else if (action.do === "finish") this.settle(action.id, action.answer, action.error);
      else if (action.do === "resume") this.cut("something is missing: resuming");
      else this.cut(action.reason, POLICY);
    }
  }

  /**
   * A failure of the server's program is for the developer, too: once, though the request is tried again and again.
   * @param {string} type
   * @param {any} detail
   */
  tell(type, detail) {
    if (type === "retrying" && detail.code === "internal" && detail.message !== this.complaint) {
      this.complaint = detail.message;
      console.error(`chatmaster: ${detail.message}`);
    }
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /**
   * @param {number} id
   * @param {any} answer
   * @param {ChatError | undefined} error
   */
  settle(id, answer, error) {
    const request = this.waiting.get(id);
    if (!request) return;
    this.waiting.delete(id);
    clearTimeout(request.timer);
    if (error) request.reject(error);
    else request.resolve(answer);
  }

  // ---- inside --------------------------------------------------------------------------------------

  /** @param {object} message */
  send(message) {
    if (this.ws?.readyState === 1) this.ws.send(JSON.stringify(message));
  }

  /** @param {State} state */
  become(state) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }

  /**
   * Storage may be full or forbidden; then a reload makes another guest.
   * @param {"getItem" | "setItem" | "removeItem"} method
   * @param {...string} value
   */
  stored(method, ...value) {
    try {
      return /** @type {any} */ (this.options.storage)?.[method](this.options.storageKey ?? STORAGE_KEY, ...value);
    } catch {
      return null;
    }
  }
}
