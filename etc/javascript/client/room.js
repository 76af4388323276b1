/**
 * Owns what an interface shows of one room: its messages as they now stand, and how many people are there.
 *
 * It fits React's `useSyncExternalStore` and any other framework: `subscribe(listener)` and `snapshot()`.
 */
/** @import { Chat } from "./chat.js" */
/** @import { Entry } from "./wire.js" */

const MOST = 500; // messages

/**
 * @typedef {object} RoomSnapshot a new object for each change
 * @property {readonly Entry[]} messages by offset, as they now stand
 * @property {number} count people
 * @property {boolean} ready joined, and the newest messages are there
 * @property {Error | undefined} error why the room could not be joined
 */

export class Room {
  /** @type {RoomSnapshot} */
  #snapshot = { messages: [], count: 0, ready: false, error: undefined };
  /** @type {Set<() => void>} */
  #listeners = new Set();
  /** @type {(() => void)[]} */
  #ends = [];

  /**
   * @param {Chat} chat
   * @param {string} name
   */
  constructor(chat, name) {
    this.chat = chat;
    this.name = name;
    this.subscribe = this.subscribe.bind(this);
    this.snapshot = this.snapshot.bind(this);
  }

  /**
   * Call `listener` after each change; returns what ends it. The room is joined for the first listener.
   * @param {() => void} listener
   * @returns {() => void}
   */
  subscribe(listener) {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) this.#open();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) for (const end of this.#ends.splice(0)) end();
    };
  }

  /** @returns {RoomSnapshot} the same object until something changes */
  snapshot() {
    return this.#snapshot;
  }

  /**
   * Say something here; resolves when the store has it.
   * @param {string} text
   */
  say(text) {
    return this.chat.say(this.name, text);
  }

  #open() {
    const here = (/** @type {{room?: string}} */ event) => event.room === this.name;
    const on = (/** @type {any} */ type, /** @type {(event: any) => void} */ act) =>
      this.#ends.push(this.chat.on(type, (event) => here(event) && act(event)));
    on("message", (entry) => this.#add([entry]));
    on("edited", (entry) => this.#change(entry.target, { text: entry.text, data: entry.data, edited: entry.time }));
    on("deleted", (entry) => this.#change(entry.target, { deleted: true, text: undefined, data: undefined }));
    on("reacted", (entry) => this.#react(entry));
    on("presence", ({ count }) => this.#become({ count }));
    on("reset", () => this.#load([]));
    on("gap", () => this.#load(this.#snapshot.messages));
    this.chat.join(this.name).then(
      (joined) => {
        this.#become({ count: joined.members ?? this.#snapshot.count });
        return this.#load(this.#snapshot.messages);
      },
      (error) => this.#become({ error }),
    );
  }

  /** @param {readonly Entry[]} kept */
  async #load(kept) {
    try {
      const { messages } = await this.chat.history(this.name);
      this.#become({ messages: merged(kept, messages), ready: true, error: undefined });
    } catch (error) {
      this.#become({ error: /** @type {Error} */ (error) });
    }
  }

  /** @param {Entry[]} entries */
  #add(entries) {
    this.#become({ messages: merged(this.#snapshot.messages, entries) });
  }

  /**
   * @param {number} offset
   * @param {Partial<Entry>} changes
   */
  #change(offset, changes) {
    const messages = this.#snapshot.messages.map((one) => (one.offset === offset ? { ...one, ...changes } : one));
    this.#become({ messages });
  }

  /** @param {Entry} entry */
  #react({ target, emoji = "", remove, from }) {
    const message = this.#snapshot.messages.find(({ offset }) => offset === target);
    if (!message) return;
    const id = (/** @type {any} */ person) => person.user ?? person;
    const others = (message.reactions?.[emoji] ?? []).filter((person) => id(person) !== from.user);
    const people = remove ? others : [...others, from.user];
    const { [emoji]: _, ...rest } = message.reactions ?? {};
    this.#change(target, { reactions: people.length ? { ...rest, [emoji]: people } : rest });
  }

  /** @param {Partial<RoomSnapshot>} changes */
  #become(changes) {
    this.#snapshot = { ...this.#snapshot, ...changes };
    for (const listener of [...this.#listeners]) listener();
  }
}

/**
 * @param {readonly Entry[]} some
 * @param {readonly Entry[]} more which win
 * @returns {readonly Entry[]}
 */
function merged(some, more) {
  const byOffset = new Map([...some, ...more].map((entry) => [entry.offset, entry]));
  return [...byOffset.values()].sort((one, other) => one.offset - other.offset).slice(-MOST);
}
