/**
 * Owns where an address in a text begins and where it ends. Pure, and one pass over the text.
 *
 * The rule for the end: white space, quotes and angle brackets, whatever turns or hides text, and any punctuation of
 * another script than ASCII (Unicode's own categories: `。` `，` `؟` `”` `»` `）`), because an address writes those
 * percent-encoded. A closing bracket belongs to the address only where it was opened in there, and punctuation at the end
 * belongs to the sentence.
 */

const HEAD = /(?<![A-Za-z0-9_])https?:\/\//gi;
const NEVER = /[\s<>"'`\p{Cc}\p{Cf}\p{Cs}\u2014\uff1c\uff1e\uff5c]/u;
// ・ stands in titles of Japanese encyclopedias, · in Catalan words.
const FOREIGN_PUNCTUATION = /(?![\p{ASCII}\u30fb\u00b7])[\p{Po}\p{Ps}\p{Pe}\p{Pi}\p{Pf}]/u;
const OF_THE_SENTENCE = /[.,;:!?\u00b7\u30fb\u2013([{]$/u;
/** @type {Record<string, string>} */
const PAIRS = { ")": "(", "]": "[", "}": "{" };
// Written without spaces, a particle follows the address: https://example.org/aを見て, https://example.org/a에서
const PARTICLE = /[\p{Script=Hiragana}\p{Script=Hangul}]/u;
const ASCII_WORD = /[A-Za-z0-9]/;
// A word that follows a whole host name: "https://example.org很好". A top-level name never mixes these.
const HOST_THEN_WORD =
  /^(https?:\/\/(?:[^/?#]*\.)?[a-z]{2,}(?::\d+)?)(?=[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}])[^./?#]*(?:[/?#]|$)/iu;

/** @typedef {{type: "link", text: string, href: string, host: string}} Link */

/**
 * The addresses in a text, in order.
 * @param {string} text
 * @returns {{index: number, link: Link}[]}
 */
export function linksIn(text) {
  const found = [];
  const head = new RegExp(HEAD);
  for (let match = head.exec(text); match; match = head.exec(text)) {
    const raw = addressAt(text, match.index, match.index + match[0].length);
    const link = linkOf(raw);
    if (link) found.push({ index: match.index, link });
    head.lastIndex = match.index + Math.max(raw.length, match[0].length);
  }
  return found;
}

/**
 * What belongs to the address that begins at `from`; `place` is behind its scheme.
 * @param {string} text
 * @param {number} from
 * @param {number} place
 */
function addressAt(text, from, place) {
  const open = [];
  let end = place;
  let before = "";
  while (end < text.length) {
    const character = String.fromCodePoint(/** @type {number} */ (text.codePointAt(end)));
    if (NEVER.test(character)) break;
    if (character > "\x7f") {
      if (FOREIGN_PUNCTUATION.test(character) || (PARTICLE.test(character) && ASCII_WORD.test(before))) break;
    } else if (character in PAIRS && open.pop() !== PAIRS[character]) break;
    if ("([{".includes(character)) open.push(character);
    before = character;
    end += character.length;
  }
  let address = text.slice(from, end);
  while (address.length > place - from && OF_THE_SENTENCE.test(address)) address = address.slice(0, -1);
  return HOST_THEN_WORD.exec(address)?.[1] ?? address;
}

/**
 * @returns {Link | null} null: not one that is safe to offer
 * @param {string} text
 */
function linkOf(text) {
  let url;
  try {
    url = new URL(text);
  } catch {
    return null;
  }
  // "https://bank.example@evil.example" only looks like the bank.
  if (!/^https?:$/.test(url.protocol) || url.username || url.password) return null;
  return { type: "link", text, href: url.href, host: url.host };
}
