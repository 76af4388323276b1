/**
 * Owns how a token comes to the page: behind the `#` of an address, which no server or proxy sees, as `#token=…` or
 * `#token=…&room=lobby`. It is taken once: the address forgets it at once, also in the browser's history.
 */
import { keptInTab } from "./storage.js";

const TOKEN = "token";

/** The token of this tab, or undefined. */
export const tabToken = () => keptInTab.get(TOKEN, undefined);

/** @param {string} token */
export const keepToken = (token) => keptInTab.set(TOKEN, token);

/**
 * What an address brings; null where it has no token.
 * @param {string} hash with its #
 * @returns {{token: string, room: string} | null}
 */
export function tokenIn(hash) {
  if (!hash.startsWith("#token=")) return null;
  const fields = new URLSearchParams(hash.slice(1));
  return { token: fields.get("token") ?? "", room: fields.get("room") ?? "" };
}

/** Take the token out of the address. Who is signed in is not made somebody else by a link: then it is given back. */
export function takeToken() {
  const given = tokenIn(location.hash);
  if (!given) return null;
  history.replaceState(null, "", location.pathname + (given.room ? `#${encodeURIComponent(given.room)}` : ""));
  const before = tabToken();
  if (given.token && (!before || subjectOf(before) === subjectOf(given.token))) {
    keepToken(given.token);
    return null;
  }
  return given.token || null;
}

/**
 * Whom a JSON Web Token is for, unverified; the token itself where it is none.
 * @param {string} token
 */
export function subjectOf(token) {
  try {
    const body = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    return JSON.parse(atob(body)).sub ?? token;
  } catch {
    return token;
  }
}
