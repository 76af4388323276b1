/** Owns how the page calls for attention: the title, the live region, and notifications where the person allows them. */
/** @import { Conversation, Message } from "./conversation.js" */
/** @import { App } from "./main.js" */
import { byId } from "./dom.js";
import { textOf } from "./message.js";
import { kept } from "./storage.js";
import { t } from "./words.js";

export class Attention {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    byId("notify").addEventListener("click", () => this.toggle());
    this.show();
  }

  get wanted() {
    return "Notification" in window && Notification.permission === "granted" && kept.get("notify", false);
  }

  async toggle() {
    if (!("Notification" in window)) {
      this.app.toast(t("This browser has no notifications"));
      return;
    }
    const permission =
      Notification.permission === "default" ? await Notification.requestPermission() : Notification.permission;
    if (permission !== "granted") this.app.toast(t("The browser does not allow notifications here"));
    else kept.set("notify", !kept.get("notify", false));
    this.show();
  }

  show() {
    const button = byId("notify");
    const words = this.wanted
      ? t("Notifications are on: mentions and direct messages, while this page is open")
      : t("Notifications are off");
    button.setAttribute("aria-pressed", String(this.wanted));
    button.setAttribute("aria-label", t("Notifications"));
    button.title = words;
    button.querySelector("use").setAttribute("href", this.wanted ? "#i-bell" : "#i-bell-off");
  }

  /**
   * A message of somebody else came.
   * @param {Conversation} conversation
   * @param {Message} message
   * @param {boolean} forMe
   */
  arrived(conversation, message, forMe) {
    const { model } = this.app;
    const here = conversation === model.current;
    const { name } = message.from;
    const where = conversation.direct
      ? t("{name} to you", { name })
      : t("{name} in {room}", { name, room: model.titleOf(conversation) });
    if (here || forMe) byId("said").textContent = `${here ? name : where}: ${textOf(message)}`;
    if (forMe && this.wanted && !document.hasFocus()) this.notify(conversation, message, where);
  }

  /**
   * @param {Conversation} conversation
   * @param {Message} message
   * @param {string} where
   */
  notify(conversation, message, where) {
    let note;
    try {
      note = new Notification(where, { body: textOf(message), tag: conversation.id });
    } catch {
      // Chrome on Android has permission to give, but no constructor for pages.
      kept.set("notify", false);
      this.show();
      this.app.toast(t("This browser shows no notifications of pages"));
      return;
    }
    note.onclick = () => {
      window.focus();
      this.app.open(conversation.id);
      note.close();
    };
  }

  /** The number of unread messages in the tab's title. */
  title() {
    const { model } = this.app;
    const unread = [...model.conversations.values()].reduce((sum, one) => sum + one.unread, 0);
    const title = model.current
      ? `${model.current.direct ? "" : "#"}${model.titleOf(model.current)} – Chatmaster`
      : "Chatmaster";
    document.title = unread ? `(${unread}) ${title}` : title;
  }
}
