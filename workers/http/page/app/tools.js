/** Owns what can be done to a message: the small bar on the one that is pointed at or has the focus, its menu, its keys. */
/** @import { Message } from "./conversation.js" */
/** @import { App } from "./main.js" */
import { el, iconButton } from "./dom.js";
import { usePart } from "./part.js";
import { t } from "./words.js";

export const QUICK = ["👍", "❤️", "😄"];
const TOP_GAP = 4; // px

/** The bar; there is one, and it moves. */
export class Tools {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    this.bar = el("div", { class: "tools", role: "toolbar", "aria-label": t("Message actions"), data: { guest: "" } });
    /** @type {any} the message's node */
    this.on = null;
  }

  /**
   * What this user may do to this message.
   * @param {Message} message
   */
  rights(message) {
    const { model } = this.app;
    const conversation = model.current;
    const open = Boolean(conversation?.joined && !message.deleted && message.segment === conversation.segment);
    const mine = message.from.user === model.me;
    return {
      react: open,
      reply: open,
      edit: open && mine && message.text !== undefined,
      remove: open && (mine || (!conversation?.direct && model.moderates)),
    };
  }

  /** @param {any} node of a message, or null */
  show(node) {
    const message = node && this.app.timeline.messageAt(node);
    if (!message || message.deleted) {
      this.hide();
      return;
    }
    if (this.on === node && this.bar.parentNode === node) return;
    this.on = node;
    this.bar.replaceChildren(...this.buttons(message));
    node.append(this.bar);
    this.place();
  }

  /** Above the message, or inside it where its top is above the view. */
  place() {
    if (!this.on?.isConnected || this.bar.parentNode !== this.on) return;
    const above = this.app.timeline.scroller.getBoundingClientRect().top - this.on.getBoundingClientRect().top;
    this.bar.style.insetBlockStart = above > -this.bar.offsetHeight ? `${above + TOP_GAP}px` : "";
  }

  hide() {
    if (this.bar.contains(document.activeElement)) this.on?.focus({ preventScroll: true });
    this.on = null;
    this.bar.remove();
  }

  /** @param {Message} message */
  buttons(message) {
    const rights = this.rights(message);
    const { app } = this;
    const found = [];
    if (rights.react) {
      found.push(...QUICK.map((emoji) => quick(emoji, () => app.react(app.model.shown, message, emoji))));
      found.push(
        iconButton("smile", t("React"), (/** @type {any} */ { currentTarget }) => this.pick(currentTarget, message)),
      );
    }
    if (rights.reply) found.push(iconButton("reply", t("Reply"), () => app.composer.reply(message)));
    if (rights.edit) found.push(iconButton("edit", t("Edit"), () => app.composer.edit(message)));
    found.push(
      iconButton(
        "more",
        t("More actions"),
        (/** @type {any} */ { currentTarget }) => this.menu(currentTarget, message),
        {
          "aria-haspopup": "menu",
        },
      ),
    );
    return found;
  }

  /**
   * @param {HTMLElement} anchor
   * @param {Message} message
   */
  pick(anchor, message) {
    const conversation = this.app.model.shown;
    const back = this.on ?? anchor;
    const chosen = (/** @type {string} */ emoji) => this.app.react(conversation, message, emoji, true);
    usePart(import("./emoji.js"), ({ openEmojiPicker }) => openEmojiPicker(anchor, chosen, back));
  }

  /**
   * @param {HTMLElement} anchor
   * @param {Message | undefined} message
   */
  menu(anchor, message) {
    if (!message || message.deleted) return;
    usePart(import("./message_menu.js"), ({ openMessageMenu }) => openMessageMenu(this, anchor, message));
  }

  /**
   * A key on a message that has the focus. Returns whether it meant something.
   * @param {string} key
   * @param {HTMLElement} node
   */
  pressed(key, node) {
    const message = this.app.timeline.messageAt(node);
    if (!message) return false;
    const rights = this.rights(message);
    if (key === "r" && rights.reply) this.app.composer.reply(message);
    else if (key === "e" && rights.edit) this.app.composer.edit(message);
    else if (key === "Delete" && rights.remove) this.app.remove(this.app.model.shown, message);
    else if (key === "Enter" || key === "ContextMenu") this.menu(node, message);
    else return false;
    return true;
  }
}

/**
 * @param {string} emoji
 * @param {(event: Event) => void} act
 * @param {string} [role]
 */
export const quick = (emoji, act, role) =>
  el("button", {
    type: "button",
    class: "icon-button quick",
    role,
    tabindex: role && "-1",
    "aria-label": t("React with {emoji}", { emoji }),
    text: emoji,
    on: { click: act },
  });
