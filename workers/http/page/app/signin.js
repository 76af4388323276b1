/**
 * Owns how a login comes to the page: behind the `#` of an address, which no server or proxy sees. A site's own link has
 * `#token=…` or `#token=…&room=lobby`; a site to which the page sent somebody comes back to `#login=STATE&token=…`, where
 * STATE is what this tab made up for that one time. The address forgets a token at once, also in the browser's history.
 */
import { kept, keptInTab } from "./storage.js";

const TOKEN = "token";
const ASKED = "login"; // in this tab: {state, place} of the way to the site that was begun

/** The token of this browser, or "". */
export const keptToken = () => kept.get(TOKEN, "");

/** @param {string} token */
export const keepToken = (token) => kept.set(TOKEN, token);

/**
 * @typedef {object} Login what an address brings
 * @property {string} token "": none, the site gives it elsewhere
 * @property {string} place the hash to go on at
 * @property {boolean} asked whether this tab asked the site for it
 */

/**
 * What an address brings; null where it is about no login.
 * @param {string} hash with its #
 * @returns {{token: string, state: string, room: string} | null}
 */
export function loginIn(hash) {
  if (!hash.startsWith("#token=") && !hash.startsWith("#login=")) return null;
  const fields = new URLSearchParams(hash.slice(1));
  return { token: fields.get("token") ?? "", state: fields.get("login") ?? "", room: fields.get("room") ?? "" };
}

/**
 * Take a login out of the address. A state counts once, and only in the tab that made it up.
 * @returns {Login | null}
 */
export function takeLogin() {
  const given = loginIn(location.hash);
  if (!given) return null;
  const begun = keptInTab.get(ASKED, {});
  const asked = given.state !== "" && given.state === begun.state;
  if (asked) keptInTab.set(ASKED, null);
  const place = asked ? begun.place : given.room && `#${encodeURIComponent(given.room)}`;
  history.replaceState(null, "", location.pathname + place);
  return { token: given.token, place, asked };
}

/**
 * The address at the site that signs people in, with the way back to this page. The place in the page stays here.
 * @param {string} url
 */
export function wayToLogin(url) {
  const state = Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join("");
  keptInTab.set(ASKED, { state, place: loginIn(location.hash) ? "" : location.hash });
  return withReturn(url, `${here()}#login=${state}&token=`);
}

/**
 * The address at the site that signs people out, with the way back to this page.
 * @param {string} url
 */
export const wayToLogout = (url) => withReturn(url, here());

const here = () => location.origin + location.pathname;

/**
 * @param {string} url may have the place {return}
 * @param {string} back
 */
export function withReturn(url, back) {
  if (url.includes("{return}")) return url.replaceAll("{return}", encodeURIComponent(back));
  return `${url}${url.includes("?") ? "&" : "?"}return_to=${encodeURIComponent(back)}`;
}

/**
 * The claims of a JSON Web Token, unverified: the server does that. Empty where it is none.
 * @param {string} token
 * @returns {{sub?: string, name?: string, exp?: number, iat?: number}}
 */
export function claimsOf(token) {
  try {
    const bytes = Uint8Array.from(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")), (one) =>
      one.charCodeAt(0),
    );
    return JSON.parse(new TextDecoder().decode(bytes)) ?? {};
  } catch {
    return {};
  }
}

/**
 * Whom a token is for; the token itself where it does not say.
 * @param {string} token
 */
export const subjectOf = (token) => claimsOf(token).sub ?? token;

const RENEW_BEFORE = 60_000; // ms before the end, or a fifth of a shorter life
const RENEW_EVERY = 5000; // ms, at most

/**
 * Milliseconds until a token that was just made should be renewed. Infinity: it has no end. The life that it says counts
 * rather than the clock of this machine, which may be wrong.
 * @param {string} token
 * @param {number} now ms since 1970
 */
export function renewIn(token, now) {
  const { exp, iat = now / 1000 } = claimsOf(token);
  if (typeof exp !== "number") return Infinity;
  const life = (exp - iat) * 1000;
  return Math.max(RENEW_EVERY, life - Math.min(RENEW_BEFORE, life / 5));
}
