/**
 * Owns how the page calls for attention: the title, the icon and its badge, the live region, a sound, and notifications
 * where the person allows them.
 */
/** @import { Conversation, Message } from "./conversation.js" */
/** @import { App } from "./main.js" */
import { byId } from "./dom.js";
import { forgetLevels, isFirstToTell, isQuiet, levelOf, QUIET, quietText } from "./levels.js";
import { textOf } from "./message.js";
import { kept } from "./storage.js";
import { t } from "./words.js";

const QUIET_LOOK_EVERY = 30_000; // ms: the time without disturbance ends by itself
const PUSH_AFTER = 2000; // ms; rooms are joined meanwhile
const DOT = `<circle cx='24' cy='8' r='7' fill='COLOUR' stroke='#fff' stroke-width='2'/>`;

export class Attention {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    /** @type {string} */
    this.icon = byId("icon").href;
    this.pushKey = ""; // the server's
    this.timer = 0;
    byId("notify").addEventListener("click", () => this.toggle());
    addEventListener("storage", () => {
      forgetLevels();
      this.show();
    });
    setInterval(() => kept.get(QUIET) && this.show(), QUIET_LOOK_EVERY);
    this.show();
  }

  get wanted() {
    return "Notification" in window && Notification.permission === "granted" && kept.get("notify", false);
  }

  async toggle() {
    if (await this.allowed()) kept.set("notify", !kept.get("notify", false));
    this.show();
    this.pushSoon();
  }

  /** The server is to know, for while the page is closed, what this browser wants to be told of. */
  pushSoon() {
    clearTimeout(this.timer);
    if (!this.pushKey || (!this.wanted && !kept.get("pushed", false))) return;
    this.timer = window.setTimeout(() => {
      import("./push.js").then(({ syncPush }) => syncPush(this.app, this.pushKey, this.wanted)).catch(() => {});
    }, PUSH_AFTER);
  }

  /** At a sign-out. A page that cannot load the part has no connection either, and no answer from the site. */
  async endPush() {
    clearTimeout(this.timer);
    if (!kept.get("pushed", false)) return;
    await import("./push.js").then(({ endPush }) => endPush()).catch(() => {});
  }

  /** Whether the browser lets the page notify, once the person was asked. */
  async allowed() {
    if (!("Notification" in window)) {
      this.app.toast(t("This browser has no notifications"));
      return false;
    }
    const permission =
      Notification.permission === "default" ? await Notification.requestPermission() : Notification.permission;
    if (permission === "granted") return true;
    this.app.toast(t("The browser does not allow notifications here"));
    return false;
  }

  show() {
    const button = byId("notify");
    const loud = this.wanted && !isQuiet();
    const words = this.wanted ? t("Notifications are on") : t("Notifications are off");
    button.setAttribute("aria-pressed", String(this.wanted));
    button.setAttribute("aria-label", t("Notifications"));
    button.title = isQuiet() ? quietText() : words;
    button.querySelector("use").setAttribute("href", loud ? "#i-bell" : "#i-bell-off");
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
    const level = levelOf(conversation);
    if (here || (forMe && level !== "none")) byId("said").textContent = `${here ? name : where}: ${textOf(message)}`;
    if (level === "none" || (level === "mentions" && !forMe) || isQuiet()) return;
    if (here && document.hasFocus()) return;
    if (kept.get("sound", false) && isFirstToTell(conversation, message))
      import("./sound.js").then(({ playSound }) => playSound()).catch(() => {});
    if (this.wanted && !document.hasFocus()) this.notify(conversation, message, where);
  }

  /**
   * @param {Conversation} conversation
   * @param {Message} message
   * @param {string} where
   */
  notify(conversation, message, where) {
    const options = { body: textOf(message), tag: conversation.id, data: { place: conversation.id } };
    let note;
    try {
      note = new Notification(where, options);
    } catch {
      this.notifyByWorker(where, options); // Chrome on Android has no constructor for pages
      return;
    }
    note.onclick = () => {
      window.focus();
      this.app.open(conversation.id);
      note.close();
    };
  }

  /**
   * @param {string} title
   * @param {NotificationOptions} options
   */
  async notifyByWorker(title, options) {
    const worker = await navigator.serviceWorker?.getRegistration().catch(() => undefined);
    if (worker) {
      await worker.showNotification(title, options);
      return;
    }
    kept.set("notify", false);
    this.show();
    this.app.toast(t("This browser shows no notifications of pages"));
  }

  /** The number of unread messages in the tab's title, and on the icon; rooms that are to be silent do not count. */
  title() {
    const { model } = this.app;
    const counted = [...model.conversations.values()].filter((one) => one.unread && levelOf(one) !== "none");
    const unread = counted.reduce((sum, one) => sum + one.unread, 0);
    const title = model.current
      ? `${model.current.direct ? "" : "#"}${model.titleOf(model.current)} – Chatmaster`
      : "Chatmaster";
    document.title = unread ? `(${unread}) ${title}` : title;
    this.badge(
      unread,
      counted.some((one) => one.mentioned),
    );
  }

  /**
   * @param {number} unread
   * @param {boolean} loud something is for the person
   */
  badge(unread, loud) {
    const href = unread ? withDot(this.icon, loud) : this.icon;
    if (byId("icon").href === href) return;
    byId("icon").href = href;
    if (!("setAppBadge" in navigator)) return;
    const done = unread ? navigator.setAppBadge(unread) : navigator.clearAppBadge();
    done.catch(() => {}); // only an installed page has a badge
  }
}

/**
 * The icon, which is an SVG in a data: address, with a dot.
 * @param {string} icon
 * @param {boolean} loud
 */
function withDot(icon, loud) {
  const dot = DOT.replace("COLOUR", loud ? "#d9480f" : "#8a8f8c");
  return icon.replace(/(%3C\/svg%3E|<\/svg>)$/i, `${encodeURIComponent(dot)}$1`);
}
