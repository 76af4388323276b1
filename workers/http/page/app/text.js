/**
 * Owns what becomes of a message's text: code, links, mentions, and the rest. `tokens` is pure; `rendered` makes nodes
 * of them, text nodes and links whose address was checked.
 */
import { el } from "./dom.js";
import { linksIn } from "./links.js";

// Three backquotes around lines, which may name a language first, or one around a few words.
const CODE = /\n?```(?:[\w+#-]*\n)?([\s\S]+?)\n?```\n?|`([^`\n]+)`/gu;
const MOST_LOOKED_AT = 500; // @ in a piece of text: the server finds no mention behind the first hundreds, either
const EMOJI_ONLY = /^(?:(?:\p{Extended_Pictographic}|\p{Regional_Indicator}|\p{Emoji_Modifier}|[\u200d\ufe0f])\s*)+$/u;

/**
 * @typedef {{type: "text" | "link" | "mention" | "code" | "block", text: string, href?: string, host?: string, me?: boolean}} Token
 */

/** @typedef {{names: Map<string, boolean>, lengths: number[]}} Index */

/**
 * @param {string} text
 * @param {{name: string, me: boolean}[]} [mentions] whom the server found in it
 * @returns {Token[]}
 */
export function tokens(text, mentions = []) {
  const people = indexed(mentions);
  /** @type {Token[]} */
  const found = [];
  let end = 0;
  for (const match of text.matchAll(CODE)) {
    /** @type {Token} */
    const code = match[1] === undefined ? { type: "code", text: match[2] } : { type: "block", text: match[1] };
    found.push(...withLinks(text.slice(end, match.index), people), code);
    end = match.index + match[0].length;
  }
  return [...found, ...withLinks(text.slice(end), people)];
}

/**
 * @param {string} text
 * @param {Index} people
 */
function withLinks(text, people) {
  /** @type {Token[]} */
  const found = [];
  let end = 0;
  for (const { index, link } of linksIn(text)) {
    found.push(...withMentions(text.slice(end, index), people), link);
    end = index + link.text.length;
  }
  return [...found, ...withMentions(text.slice(end), people)];
}

/**
 * The names by their folding, and how long they are, the longest first.
 * @param {{name: string, me: boolean}[]} mentions
 */
function indexed(mentions) {
  /** @type {Map<string, boolean>} */
  const names = new Map();
  for (const { name, me } of mentions) if (name) names.set(folded(name), me || names.get(folded(name)) === true);
  const lengths = [...new Set(mentions.map(({ name }) => name.length))].filter(Boolean).sort((a, b) => b - a);
  return { names, lengths };
}

/**
 * One length of name after the other is looked up: no name becomes a pattern, whatever it is.
 * @param {string} text
 * @param {Index} index
 */
function withMentions(text, { names, lengths }) {
  /** @type {Token[]} */
  const found = [];
  let end = 0;
  let left = names.size && MOST_LOOKED_AT;
  for (let at = text.indexOf("@"); at >= 0 && left > 0; at = text.indexOf("@", at + 1), left -= 1) {
    if (at < end || /[\p{L}\p{N}_@]$/u.test(text.slice(Math.max(0, at - 2), at))) continue;
    const length = lengths.find((one) => isNamed(text, at + 1, one, names));
    if (!length) continue;
    const name = text.slice(at, at + 1 + length);
    if (at > end) found.push({ type: "text", text: text.slice(end, at) });
    found.push({ type: "mention", text: name, me: Boolean(names.get(folded(name.slice(1)))) });
    end = at + name.length;
  }
  if (end < text.length) found.push({ type: "text", text: text.slice(end) });
  return found;
}

/**
 * @param {string} text
 * @param {number} from
 * @param {number} length
 * @param {Map<string, boolean>} names
 */
function isNamed(text, from, length, names) {
  const end = from + length;
  return end <= text.length && names.has(folded(text.slice(from, end))) && !isInWord(text, end);
}

/**
 * Between two letters or digits a name cannot end: "@Bob" is not in "@Bobby".
 * @param {string} text
 * @param {any} end
 */
function isInWord(text, end) {
  return (
    /[\p{L}\p{N}]$/u.test(text.slice(Math.max(0, end - 2), end)) && /^[\p{L}\p{N}]/u.test(text.slice(end, end + 2))
  );
}

/** @param {string} name */
const folded = (name) => name.normalize("NFKC").toLowerCase();

/**
 * @param {string} text
 * @param {{name: string, me: boolean}[]} [mentions]
 */
export function rendered(text, mentions) {
  return tokens(text, mentions).map((token) => {
    if (token.type === "text") return document.createTextNode(token.text);
    if (token.type === "mention") return el("span", { class: token.me ? "mention mine" : "mention", text: token.text });
    if (token.type === "code") return el("code", { text: token.text });
    if (token.type === "block") return el("pre", { class: "code", dir: "ltr" }, el("code", { text: token.text }));
    // The host, since an address can be written so that it seems to lead elsewhere.
    return el("a", {
      href: token.href,
      title: token.host,
      target: "_blank",
      rel: "noopener noreferrer nofollow",
      text: token.text,
    });
  });
}

/**
 * A few emoji and nothing else are shown large.
 * @param {string} text
 */
export const isEmojiOnly = (text) => text.length <= 24 && EMOJI_ONLY.test(text);

/**
 * The beginning, on one line.
 * @param {string} text
 */
export function excerpt(text, most = 120) {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, most).trimEnd()}…` : line;
}
