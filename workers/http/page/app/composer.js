/** Owns the box in which one writes: drafts, replying, editing, sending, and saying that one is writing. */
/** @import { Conversation, Message } from "./conversation.js" */
/** @import { App } from "./main.js" */
import { bdi, byId, insertText, isComposing } from "./dom.js";
import { Mentions } from "./mentions.js";
import { textOf } from "./message.js";
import { usePart } from "./part.js";
import { sanctionText } from "./sanction_text.js";
import { tooLong } from "./size.js";
import { kept, keptInTab } from "./storage.js";
import { t, tParts } from "./words.js";

const TYPING_EVERY = 3000; // ms
const SAVE_AFTER = 300;
const BY_FINGER = matchMedia("(pointer: coarse) and (hover: none)"); // there Enter is the one way to a new line
/** @type {Record<string, number>} */
const TURNS = { PageUp: -1, PageDown: 1 };
const PAGE_BY = 0.9; // of what is seen
const WRITING = "writing"; // replies and edits that are being written, by conversation
const MEASURED = 4000; // letters; the style allows only a part of the window

export class Composer {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    /** @type {HTMLTextAreaElement} */
    this.text = byId("text");
    this.mentions = new Mentions(this.text, app);
    /** @type {{mode: "reply" | "edit", message: any} | null} */
    this.about = null;
    /** @type {Conversation | null} */
    this.conversation = null;
    this.typedAt = 0;
    this.sendsSoon = false; // Enter came before the server said where we are
    this.before = keptInTab.get(WRITING, {}); // the last load of this page
    this.listen();
  }

  listen() {
    this.text.enterKeyHint = BY_FINGER.matches ? "enter" : "send";
    let timer = 0;
    this.text.addEventListener("input", () => {
      this.sendsSoon = false;
      this.grow();
      this.tellTyping();
      clearTimeout(timer);
      timer = window.setTimeout(() => this.save(), SAVE_AFTER);
    });
    addEventListener("pagehide", () => this.keep());
    this.text.addEventListener("keydown", (event) => this.pressed(event));
    byId("composer").addEventListener("submit", (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      const byButton = document.activeElement === byId("send");
      this.send();
      if (byButton) this.text.focus(); // an empty box has no button to keep it
    });
    byId("send").addEventListener("mousedown", (/** @type {MouseEvent} */ event) => event.preventDefault()); // one writes on
    byId("context-cancel").addEventListener("click", () => this.cancel());
    byId("emoji").addEventListener("click", () =>
      usePart(import("./emoji.js"), ({ openEmojiPicker }) =>
        openEmojiPicker(byId("emoji"), (emoji) => this.insert(emoji), this.text),
      ),
    );
  }

  /**
   * Another conversation is shown.
   * @param {Conversation} conversation
   */
  show(conversation) {
    this.save();
    const typed = this.conversation ? "" : this.text.value; // before the server said where we are
    this.remember();
    this.conversation = conversation;
    conversation.writing ??= this.before[conversation.id] ?? null;
    delete this.before[conversation.id];
    const { about } = conversation.writing ?? {};
    this.about = about?.message?.from ? about : null; // whatever the browser kept
    const before = this.about?.mode === "edit" ? conversation.writing.text : this.draft(conversation.id);
    this.text.value = [before, typed].filter(Boolean).join("\n");
    this.refresh();
    if (this.sendsSoon) queueMicrotask(() => this.send());
  }

  /** Whether one can write, and what the empty box says. */
  refresh() {
    const { conversation } = this;
    const { model } = this.app;
    const open = Boolean(conversation?.joined || conversation?.joining);
    this.text.disabled = Boolean(conversation) && !open;
    const title = conversation ? model.titleOf(conversation) : "";
    const { muted } = this.app;
    const told = muted.get("") ?? muted.get(conversation?.id ?? "");
    const words = !conversation
      ? ""
      : told && (told.until ?? Infinity) > Date.now()
        ? sanctionText(told)
        : !open
          ? t("You are not in this room")
          : conversation.direct
            ? t("Write to {name}", { name: title })
            : t("Write to #{name}", { name: title });
    this.text.placeholder = words;
    this.text.setAttribute("aria-label", words || t("Message"));
    this.showContext();
    this.grow();
  }

  // ---- drafts --------------------------------------------------------------------------------------

  /** @param {string} id */
  draft(id) {
    return kept.get(`draft.${id}`, "");
  }

  save() {
    if (!this.conversation || this.about?.mode === "edit" || this.app.isForgotten) return;
    const before = this.draft(this.conversation.id);
    if (before === this.text.value) return;
    kept.set(`draft.${this.conversation.id}`, this.text.value);
    if (!before !== !this.text.value) this.app.model.changed("list");
  }

  /** The reply or edit that is being written stays with its conversation. */
  remember() {
    if (this.conversation) this.conversation.writing = this.about && { about: this.about, text: this.text.value };
  }

  /** Over a reload of the page. */
  keep() {
    if (this.app.isForgotten) return;
    this.save();
    this.remember();
    const { before } = this;
    for (const { id, writing } of this.app.model.conversations.values()) if (writing) before[id] = writing;
    keptInTab.set(WRITING, before);
  }

  // ---- replying and editing ------------------------------------------------------------------------

  /** @param {Message} message */
  reply(message) {
    if (this.about?.mode === "edit") this.cancel();
    this.about = { mode: "reply", message };
    this.showContext();
    this.text.focus();
  }

  /** @param {Message} message */
  edit(message) {
    this.save();
    this.about = { mode: "edit", message };
    this.text.value = message.text ?? "";
    this.showContext();
    this.grow();
    this.text.focus();
  }

  cancel() {
    const wasEdit = this.about?.mode === "edit";
    this.about = null;
    if (wasEdit && this.conversation) this.text.value = this.draft(this.conversation.id);
    this.refresh();
    this.text.focus();
  }

  showContext() {
    const { about } = this;
    byId("context").hidden = !about;
    if (!about) return;
    const words =
      about.mode === "edit"
        ? tParts("Editing your message: {text}", { text: textOf(about.message) })
        : tParts("Replying to {name}: {text}", { name: bdi(about.message.from.name), text: textOf(about.message) });
    byId("context-text").replaceChildren(...words);
  }

  // ---- sending -------------------------------------------------------------------------------------

  send() {
    const written = this.text.value.trim();
    const text = written.toWellFormed?.() ?? written; // half a pair of surrogates is no text
    const { conversation, about } = this;
    this.sendsSoon = !conversation;
    if (!text || !(conversation?.joined || conversation?.joining)) return;
    const excess = tooLong(text, this.app.model.limits);
    if (excess) {
      this.app.toast(excess);
      return;
    }
    this.about = null;
    if (about?.mode === "edit") this.sendEdit(conversation, about.message, text);
    else this.app.say(conversation, text, about?.message.offset);
    this.text.value = about?.mode === "edit" ? this.draft(conversation.id) : "";
    this.typedAt = 0;
    this.save();
    this.refresh();
  }

  /**
   * @param {Conversation} conversation
   * @param {Message} message
   * @param {string} text
   */
  sendEdit(conversation, message, text) {
    if (text !== message.text) this.app.change(conversation, message, text);
  }

  /**
   * An edit came to nothing: its words are not lost.
   * @param {Conversation} conversation
   * @param {Message} message
   * @param {string} text
   */
  giveBack(conversation, message, text) {
    const isHere = conversation === this.conversation && this.about?.mode !== "edit";
    if (isHere && !message.deleted) {
      this.edit(message);
      this.text.value = text;
    } else if (isHere) this.text.value = [this.text.value, text].filter(Boolean).join("\n");
    else kept.set(`draft.${conversation.id}`, [this.draft(conversation.id), text].filter(Boolean).join("\n"));
    this.refresh();
  }

  tellTyping() {
    const now = Date.now();
    const { conversation } = this;
    if (!conversation || this.about?.mode === "edit" || !this.text.value) return;
    if (conversation.peer === this.app.model.me) return;
    if (now - this.typedAt < TYPING_EVERY) return;
    this.typedAt = now;
    this.app.chat.typing(conversation.id);
  }

  // ---- the box -------------------------------------------------------------------------------------

  /** What is typed next belongs into the box; on a phone the keyboard would come. */
  takeFocus() {
    if (matchMedia("(pointer: fine)").matches) this.text.focus();
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    if (isComposing(event) || this.mentions.pressed(event)) return;
    if (event.key === "Enter" && !event.shiftKey && (!BY_FINGER.matches || event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.send();
    } else if (event.key === "Escape" && this.about) this.cancel();
    else if (TURNS[event.key] && this.text.scrollHeight <= this.text.clientHeight) {
      event.preventDefault();
      this.turn(TURNS[event.key]);
    } else if (event.key === "ArrowUp" && !this.text.value) this.editLast(event);
  }

  /**
   * The messages by a view, while one writes.
   * @param {number} by
   */
  turn(by) {
    const { timeline } = this.app;
    const { scrollTop, clientHeight } = timeline.scroller;
    if (by < 0) timeline.leaveEnd();
    timeline.scrollTo(scrollTop + by * PAGE_BY * clientHeight);
  }

  /** @param {Event} event */
  editLast(event) {
    const message = this.conversation?.lastOf(this.app.model.me);
    if (message?.text === undefined) return;
    event.preventDefault();
    this.edit(message);
  }

  /** @param {string} words a mention begins behind a space */
  insert(words) {
    const { text } = this;
    text.focus();
    const glued = words[0] === "@" && /\S$/.test(text.value.slice(0, text.selectionStart));
    insertText(text, glued ? ` ${words}` : words);
  }

  /** As high as the text; of a very long one the height is known, and measuring takes long. */
  grow() {
    const { value, style } = this.text;
    style.height = "auto";
    style.height = value.length > MEASURED ? "100dvh" : `${this.text.scrollHeight}px`;
    byId("send").disabled = !value.trim() || this.text.disabled;
  }
}
