/**
 * Owns our own messages from the moment they are written until the server has a place for them. They are kept in the tab,
 * so that a reload loses none, and sent again under the same key, so that none is said twice.
 */
/** @import { Conversation } from "./conversation.js" */
/** @import { Chat } from "../chat/chat.js" */
import { tooLong } from "./size.js";
import { keptInTab } from "./storage.js";
import { t } from "./words.js";

const KEPT = "outbox";
const SAFE_AGAIN = 9 * 60_000; // ms: the server knows a key for ten minutes

/**
 * @typedef {object} Outgoing
 * @property {string} key
 * @property {string} id the conversation's
 * @property {string} text
 * @property {number | undefined} replyTo
 * @property {number} time
 * @property {{user: string, name: string}} from
 * @property {"waiting" | "sent" | "failed"} status
 * @property {string} error
 */

export class Outbox {
  /**
   * @param {Chat} chat
   * @param {import("./model.js").Model} model
   */
  constructor(chat, model) {
    this.chat = chat;
    this.model = model;
    chat.on("sent", ({ key }) => this.mark(key ?? "", "sent"));
    chat.on("retrying", ({ key }) => this.mark(key ?? "", "waiting"));
    chat.on("state", ({ state }) => state !== "connected" && this.unsend());
  }

  /** @returns {Outgoing[]} */
  get all() {
    return [...this.model.conversations.values()].flatMap((conversation) => conversation.outgoing);
  }

  /**
   * Say it: it is shown at once.
   * @param {Conversation} conversation
   * @param {string} text
   * @param {number | undefined} replyTo
   */
  say(conversation, text, replyTo) {
    const from = { user: this.model.me, name: this.model.name };
    const key = crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random()}`;
    /** @type {Outgoing} */
    const outgoing = { key, id: conversation.id, text, replyTo, time: Date.now(), from, status: "waiting", error: "" };
    conversation.outgoing.push(outgoing);
    this.send(outgoing);
  }

  /** Bring back what a reload interrupted. */
  restore() {
    for (const outgoing of keptInTab.get(KEPT, []).filter(isOutgoing)) {
      const conversation = this.model.conversation(outgoing.id);
      if (conversation.outgoing.some((one) => one.key === outgoing.key)) continue;
      conversation.outgoing.push(outgoing);
      const safe = Date.now() - outgoing.time < SAFE_AGAIN && outgoing.from.user === this.model.me;
      if (outgoing.status === "failed" || !safe)
        this.fail(outgoing, outgoing.error || t("Not confirmed before the page was closed"));
      else this.send(outgoing);
    }
  }

  /** @param {Outgoing} outgoing */
  send(outgoing) {
    const excess = tooLong(outgoing.text, this.model.limits);
    if (excess) {
      this.fail(outgoing, excess); // sent, it would cost the connection, and again after each return
      return;
    }
    Object.assign(outgoing, { status: "waiting", error: "" });
    this.changed(outgoing);
    const { id, text, key, replyTo } = outgoing;
    const options = { key, timeout: Infinity };
    const asked = id.startsWith("@")
      ? this.chat.direct(id.slice(1), text, { ...options, replyTo })
      : this.chat.say(id, text, { ...options, replyTo });
    asked.then(
      (ack) => this.acknowledged(outgoing, ack),
      (error) => this.fail(outgoing, reasonOf(error)),
    );
  }

  /** @param {Outgoing} outgoing */
  discard(outgoing) {
    this.model.kept(this.model.conversation(outgoing.id), outgoing.key);
    this.changed(outgoing);
  }

  /**
   * The store has it. The message itself may have come before, or comes soon and says the same.
   * @param {Outgoing} outgoing
   * @param {{room?: string, epoch?: string, offset?: number}} ack
   */
  acknowledged(outgoing, { room = "", epoch = "", offset = 0 }) {
    const conversation = this.model.conversation(outgoing.id);
    this.model.kept(conversation, outgoing.key);
    if (!conversation.byOffset.has(offset)) {
      const { from, time, text, replyTo } = outgoing;
      conversation.put({ type: "message", room, epoch, offset, from, time, text, reply_to: replyTo });
    }
    this.changed(outgoing);
  }

  /**
   * @param {Outgoing} outgoing
   * @param {any} error
   */
  fail(outgoing, error) {
    Object.assign(outgoing, { status: "failed", error });
    this.changed(outgoing);
  }

  /**
   * @param {string} key
   * @param {"waiting" | "sent"} status
   */
  mark(key, status) {
    const outgoing = this.all.find((one) => one.key === key);
    if (!outgoing || outgoing.status === "failed") return;
    outgoing.status = status;
    this.changed(outgoing);
  }

  /** The connection is gone: what was sent on it may not have arrived. */
  unsend() {
    for (const outgoing of this.all) if (outgoing.status === "sent") this.mark(outgoing.key, "waiting");
  }

  /** @param {Outgoing} outgoing */
  changed(outgoing) {
    keptInTab.set(KEPT, this.all.length ? this.all : undefined);
    this.model.changed("messages", this.model.conversation(outgoing.id));
  }
}

/** @param {any} kept */
const isOutgoing = (kept) =>
  [kept?.id, kept?.key, kept?.text, kept?.from?.name].every((one) => typeof one === "string");

/**
 * A server's error as a sentence.
 * @param {any} error
 */
export function reasonOf(error) {
  /** @type {Record<string, string>} */
  const sentences = {
    outcome_unknown: t("No answer; it may or may not have arrived"),
    queue_full: t("Too much is waiting to be sent"),
    ended: t("Not connected"),
    name_taken: t("Somebody here has this name, or one that looks like it. Choose another one"),
  };
  const message = sentences[error?.code] ?? String(error?.message ?? error);
  return message ? message[0].toLocaleUpperCase() + message.slice(1) : t("It did not work");
}
