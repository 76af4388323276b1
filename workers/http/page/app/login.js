/**
 * Owns who is signed in: the token of each connection, its renewal in silence, the way to the site's own page and back,
 * and the sign-out, which holds for all tabs. The site's addresses are in the head of the page. The page never asks for a
 * token.
 */
/** @import { App } from "./main.js" */
/** @import { Welcome } from "../chat/wire.js" */
import { byId } from "./dom.js";
import { usePart } from "./part.js";
import { keepToken, keptToken, renewIn, subjectOf, takeLogin, wayToLogin, wayToLogout } from "./signin.js";
import { forgetPerson, kept, keptInTab } from "./storage.js";
import { t } from "./words.js";

const SIGNED_OUT = "signed-out"; // by hand, in this browser: the site's session does not sign in again by itself
const USER = "user"; // who is signed in, for the other tabs
const RELOADED = "reloaded"; // in this tab, ms since 1970
const ANSWER_WITHIN = 10_000; // ms
const LOOK_EVERY = 3_600_000; // ms: timers do not reach further than 24 days, nor over a sleep
const GUEST = "guest:"; // how the id of a guest begins
const CALM = 5000; // ms between two reloads because of other tabs
const RENEW_AGAIN_AFTER = 15_000; // ms, where a renewal failed

/** @param {string} name */
const siteUrl = (name) => document.querySelector(`meta[name="${name}-url"]`)?.getAttribute("content") ?? "";

export class Login {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    this.urls = { login: siteUrl("login"), logout: siteUrl("logout"), token: siteUrl("token") };
    this.fetched = ""; // the site's token
    this.user = ""; // signed in here; "": a guest, or nobody yet
    this.cameBack = false; // from the site, just now: it is not asked again at once
    this.timer = 0;
    this.renewAt = 0; // ms since 1970
    this.complained = false; // that the site does not answer
    const brought = takeLogin();
    if (brought) this.brought(brought);
    byId("sign-in").addEventListener("click", () => this.go());
    addEventListener("storage", ({ key }) => this.otherTab(key));
    document.addEventListener("visibilitychange", () => !document.hidden && this.renewSoon());
  }

  /** Whether there is anything to end by a sign-out. */
  get canSignOut() {
    if (!this.user) return keptToken() !== "";
    return this.urls.token !== "" || this.urls.logout !== "" || keptToken() !== "";
  }

  /** Whether the site can be asked to sign somebody in. */
  get canSignIn() {
    return this.urls.login !== "" && !this.user;
  }

  // ---- the way to the site and back --------------------------------------------------------------

  /**
   * To the site's own page; it comes back to this place. The name of a guest is not that of who signs in.
   * @param {boolean} [instead] of this page in the browser's history, so that Back does not lead here and there again
   */
  go(instead = false) {
    kept.set(SIGNED_OUT, null);
    kept.set("name", null);
    location[instead ? "replace" : "assign"](wayToLogin(this.urls.login));
  }

  /**
   * The address brought a login. Nobody is made somebody else by a link that they did not ask for.
   * @param {import("./signin.js").Login} login
   */
  brought({ token, asked }) {
    this.cameBack = asked;
    if (asked) kept.set(SIGNED_OUT, null);
    if (!token) return;
    const before = keptToken();
    const same = before !== "" && subjectOf(before) === subjectOf(token);
    if (asked || same || (!before && !this.urls.login)) this.take(token);
    else queueMicrotask(() => this.askChange(token, before !== ""));
  }

  /** @param {string} token */
  take(token) {
    kept.set(SIGNED_OUT, null);
    if (subjectOf(token) !== kept.get(USER, "")) kept.set("name", null);
    keepToken(token);
  }

  /** The address of the open page changed. Returns whether it was about a login. */
  addressChanged() {
    const before = keptToken();
    const login = takeLogin();
    if (!login) return false;
    this.brought(login);
    if (keptToken() !== before) location.reload();
    return true;
  }

  // ---- the token -----------------------------------------------------------------------------------

  /** For each connection. Rejects where the site cannot be asked: then the connection is tried again later. */
  async token() {
    if (kept.get(SIGNED_OUT, false)) return "";
    if (!this.urls.token) return keptToken();
    if (this.fetched && Date.now() < this.renewAt) return this.fetched;
    try {
      await this.fetchToken();
      this.complained = false;
    } catch (error) {
      if (!this.complained) this.app.toast(t("The site that signs people in does not answer"));
      this.complained = true;
      throw error;
    }
    if (!this.fetched && this.user)
      this.lapsed(); // a page in use does not become another's
    else if (this.fetched && subjectOf(this.fetched) !== kept.get(USER, "")) this.app.chat.core.name = undefined;
    return this.fetched;
  }

  /** The server refused the token of a connection. */
  distrust() {
    this.fetched = "";
  }

  /** The token of the session at the site; "": there is no session. */
  async fetchToken() {
    const answer = await fetch(this.urls.token, {
      credentials: "include",
      cache: "no-store",
      headers: { Accept: "application/json" },
      signal: AbortSignal.timeout(ANSWER_WITHIN),
    });
    if (!answer.ok && ![401, 403].includes(answer.status)) throw new Error(`${this.urls.token}: ${answer.status}`);
    const { token } = answer.ok ? await answer.json() : { token: "" };
    this.fetched = typeof token === "string" ? token : "";
    this.renewAt = Date.now() + renewIn(this.fetched, Date.now());
    this.renewSoon();
    return this.fetched;
  }

  renewSoon() {
    clearTimeout(this.timer);
    if (!this.fetched) return;
    const wait = Math.min(this.renewAt - Date.now(), LOOK_EVERY);
    this.timer = window.setTimeout(() => this.renew(), Math.max(0, wait));
  }

  /** Present a fresh token on the open connection; where that fails, the server ends it, and the next one fetches. */
  async renew() {
    if (Date.now() < this.renewAt) {
      this.renewSoon();
      return;
    }
    const before = subjectOf(this.fetched);
    try {
      const token = await this.fetchToken();
      if (!token) this.lapsed();
      else if (subjectOf(token) !== before) location.reload();
      else await this.app.chat.renew(token);
    } catch {
      this.timer = window.setTimeout(() => this.renew(), RENEW_AGAIN_AFTER);
    }
  }

  // ---- what the server says --------------------------------------------------------------------------

  /** @param {Welcome} welcome */
  welcomed({ user }) {
    this.user = user.startsWith(GUEST) ? "" : user;
    this.cameBack = false;
    byId("sign-in").hidden = !this.canSignIn;
    if (this.user !== kept.get(USER, "")) kept.set(USER, this.user);
  }

  /**
   * There is no connection without a login. A page on which nothing is shown yet goes to the site by itself.
   * @param {string | undefined} reason the server's
   */
  refused(reason) {
    const isNew = !this.app.model.me && !this.cameBack && !kept.get(SIGNED_OUT, false);
    if (isNew && this.urls.login) this.go(true);
    else this.ask(this.cameBack ? t("The server does not take this login: {reason}", { reason: reason ?? "" }) : "");
  }

  /** The session at the site is over. What is shown stays. */
  lapsed() {
    clearTimeout(this.timer);
    this.fetched = "";
    this.app.chat.close();
    this.ask(t("Your session is over."));
  }

  /**
   * @param {string} token
   * @param {boolean} isOther than who is signed in
   */
  askChange(token, isOther) {
    usePart(import("./login_dialogs.js"), ({ askChange }) => askChange(this, token, isOther));
  }

  /** @param {string} why */
  ask(why) {
    usePart(import("./login_dialogs.js"), ({ askLogin }) => askLogin(this, why));
  }

  // ---- the end, and other tabs -----------------------------------------------------------------------

  askSignOut() {
    usePart(import("./login_dialogs.js"), ({ askToEnd }) => askToEnd(this));
  }

  /** What this browser keeps of the person goes; how the page looks stays. */
  async signOut() {
    this.app.chat.close();
    await this.app.attention.endPush();
    forgetPerson();
    this.app.isForgotten = true;
    kept.set(SIGNED_OUT, this.urls.token !== "" || this.urls.login !== "" || null);
    kept.set(USER, "");
    if (this.urls.logout) location.assign(wayToLogout(this.urls.logout));
    else location.reload();
  }

  /**
   * Somebody signed in or out in another tab, or got a new token there.
   * @param {string | null} key null: all is gone
   */
  otherTab(key) {
    const isToken = key?.endsWith(".token");
    if (key !== null && !isToken && !key.endsWith(`.${USER}`)) return;
    const token = keptToken();
    if (isToken && token && this.user && subjectOf(token) === this.user) {
      this.app.chat.renew(token).catch(() => {}); // the next connection has it
      return;
    }
    if (!isToken && kept.get(USER, "") === this.user) return;
    if (Date.now() - keptInTab.get(RELOADED, 0) < CALM) return;
    keptInTab.set(RELOADED, Date.now());
    location.reload();
  }
}
