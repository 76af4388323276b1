/**
 * Owns the line that tells the truth about the connection. Those who hear the page are told changes, not every second
 * of a countdown.
 */
/** @import { Chat } from "../chat/chat.js" */
import { byId, write } from "./dom.js";
import { usePart } from "./part.js";
import { sanctionText } from "./sanction_text.js";
import { plural, t } from "./words.js";

const SHORTLY = 5000; // ms: how long good news stays
const LONGER = 20_000; // and bad news
const TROUBLE_FOR = 3000; // after the last refusal
const SILENCE = 4000; // without a word from the server, while the page is looked at, one asks
const TELL_AFTER = 2000; // or it is told

/** @typedef {{kind: "calm" | "good" | "busy" | "bad", text: string, spoken?: string, button?: string}} Line */

export class Status {
  /** @param {Chat} chat */
  constructor(chat) {
    this.chat = chat;
    this.was = false; // connected before
    /** @type {(Line & {until: number}) | null} */
    this.news = null;
    this.trouble = 0; // until when the store is thought to be away
    this.said = "";
    /** @type {boolean | undefined} what may keep a connection out */
    this.explained = false;
    this.offlineAt = 0; // when the browser lost its network
    /** @type {import("../chat/wire.js").Muted | null} */
    this.ban = null; // of everywhere
    chat.on("banned", (told) => {
      if (!told.room) this.ban = told;
    });
    chat.on("state", ({ state }) => this.became(state));
    chat.on("caughtup", (missed) => this.caughtUp(missed));
    chat.on("retrying", ({ code }) => code !== "rate_limited" && this.troubled());
    byId("state-button").addEventListener("click", () => chat.open());
    for (const event of ["online", "offline"]) addEventListener(event, () => this.show());
    addEventListener("offline", () => {
      this.offlineAt = Date.now();
      chat.nudge(); // a server on the same machine is reached all the same
      this.show();
    });
    addEventListener("online", () => chat.nudge());
    document.addEventListener("visibilitychange", () => !document.hidden && chat.nudge());
    setInterval(() => {
      const isQuiet = chat.state.state === "connected" && Date.now() - chat.heardAt > SILENCE;
      if (isQuiet && !document.hidden) chat.nudge();
      this.show();
    }, 500);
    this.show();
  }

  /** @param {any} state */
  became(state) {
    if (state === "connected") {
      this.ban = null;
      if (this.was) this.news = { kind: "busy", text: t("Catching up…"), until: Date.now() + LONGER };
      this.was = true;
    }
    this.show();
  }

  /** @param {{recovered: number, lost: number, resets: number}} missed */
  caughtUp({ recovered, lost, resets }) {
    if (lost)
      this.news = {
        kind: "bad",
        text: plural(lost, "{count} message could not be recovered", "{count} messages could not be recovered"),
        until: Date.now() + LONGER,
      };
    else if (resets)
      this.news = { kind: "bad", text: t("The server lost what was said before"), until: Date.now() + LONGER };
    else
      this.news = {
        kind: "good",
        text: recovered
          ? plural(recovered, "Caught up: {count} message", "Caught up: {count} messages")
          : t("Caught up"),
        until: Date.now() + SHORTLY,
      };
    this.show();
  }

  troubled() {
    this.trouble = Date.now() + TROUBLE_FOR;
    this.show();
  }

  /** @returns {Line} */
  get line() {
    const { state, retryAt = 0, code, reason, refused } = this.chat.state;
    const now = Date.now();
    if (state === "closed") {
      const text = code === 4003 && this.ban ? sanctionText(this.ban) : closedText(code, reason);
      return { kind: "bad", text, button: t("Try again") };
    }
    if (state !== "waiting" && now < this.trouble)
      return { kind: "busy", text: t("The server cannot reach its store; trying again") };
    if (state === "connecting") return { kind: "busy", text: this.was ? t("Reconnecting…") : t("Connecting…") };
    if (refused) return { kind: "bad", text: t("No connection is let through"), button: t("Try now") };
    if (state === "waiting") return this.waitingLine(Math.ceil((retryAt - now) / 1000), code);
    const { heardAt, askedAt } = this.chat;
    if (this.offlineAt > heardAt) return { kind: "busy", text: t("No network") };
    if (askedAt > heardAt && now - askedAt > TELL_AFTER) return { kind: "busy", text: t("The server does not answer") };
    if (this.news && now < this.news.until) return this.news;
    return { kind: "calm", text: t("Connected") };
  }

  /**
   * @param {number} seconds
   * @param {number | undefined} code
   * @returns {Line}
   */
  waitingLine(seconds, code) {
    const reason = navigator.onLine === false ? t("No network.") : code === 1012 ? t("The server restarts.") : "";
    const why = reason && `${reason} `;
    const spoken = `${why}${t("Reconnecting…")}`;
    if (seconds <= 1) return { kind: "busy", text: spoken };
    return {
      kind: "busy",
      text: `${why}${t("Reconnecting in {seconds} s", { seconds })}`,
      spoken,
      button: t("Try now"),
    };
  }

  show() {
    const { kind, text, spoken = text, button } = this.line;
    byId("state").dataset.kind = kind;
    const { refused } = this.chat.state;
    if (refused && !this.explained) usePart(import("./trouble.js"), ({ explainTrouble }) => explainTrouble());
    this.explained ||= refused;
    byId("trouble").hidden = !refused;
    byId("app").classList.toggle("offline", this.chat.state.state !== "connected");
    write("state-text", text);
    byId("state-button").hidden = !button;
    if (button) write("state-button", button);
    if (spoken === this.said) return;
    this.said = spoken;
    write("told", spoken);
  }
}

/**
 * @param {number | undefined} code
 * @param {string | undefined} reason
 */
function closedText(code, reason) {
  /** @type {Record<number, string>} */
  const words = {
    1008: t("This page may not connect here"),
    4001: t("You have to sign in"),
    4003: t("You were removed"),
    1009: t("A message was too big for the server"),
  };
  const text = words[code ?? 0] ?? t("Disconnected");
  return reason && code !== 1000 ? `${text}: ${reason}` : text;
}
