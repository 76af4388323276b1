/**
 * Owns what becomes of a message's text: code, links, mentions, and the rest. `tokens` is pure; `rendered` makes nodes
 * of them, text nodes and links whose address was checked.
 */
import { el } from "./dom.js";

// Ends at white space, at what cannot be in an address, and at marks that would turn the direction of what follows.
const LINK = /\bhttps?:\/\/[^\s<>"'`\u200b-\u200f\u202a-\u202e\u2066-\u2069]+/giu;
// Three backquotes around lines, which may name a language first, or one around a few words.
const CODE = /\n?```(?:[\w+#-]*\n)?([^]+?)\n?```\n?|`([^`\n]+)`/gu;
const TRAILING = /[.,;:!?…)\]}]$/u;
const EMOJI_ONLY = /^(?:(?:\p{Extended_Pictographic}|\p{Regional_Indicator}|\p{Emoji_Modifier}|[\u200d\ufe0f])\s*)+$/u;

/**
 * @typedef {{type: "text" | "link" | "mention" | "code" | "block", text: string, href?: string, host?: string, me?: boolean}} Token
 */

/**
 * @param {string} text
 * @param {{name: string, me: boolean}[]} [mentions] whom the server found in it
 * @returns {Token[]}
 */
export function tokens(text, mentions = []) {
  const found = [];
  let end = 0;
  for (const match of text.matchAll(CODE)) {
    const code = match[1] === undefined ? { type: "code", text: match[2] } : { type: "block", text: match[1] };
    found.push(...withLinks(text.slice(end, match.index), mentions), code);
    end = match.index + match[0].length;
  }
  return [...found, ...withLinks(text.slice(end), mentions)];
}

function withLinks(text, mentions) {
  const found = [];
  let end = 0;
  for (const match of text.matchAll(LINK)) {
    const link = linkOf(match[0]);
    if (!link) continue;
    found.push(...withMentions(text.slice(end, match.index), mentions), link);
    end = match.index + link.text.length;
  }
  return [...found, ...withMentions(text.slice(end), mentions)];
}

/** The link, without punctuation that belongs to the sentence; null where it is none that is safe to offer. */
function linkOf(raw) {
  let text = raw;
  while (TRAILING.test(text) && !balanced(text)) text = text.slice(0, -1);
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

/** "(see https://example.org/a_(b))" keeps the bracket that was opened in the address. */
function balanced(text) {
  if (!text.endsWith(")")) return false;
  return text.split("(").length >= text.split(")").length;
}

function withMentions(text, mentions) {
  const names = mentions.filter(({ name }) => name).sort((a, b) => b.name.length - a.name.length);
  if (!text || !names.length) return text ? [{ type: "text", text }] : [];
  const either = names.map(({ name }) => name.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")).join("|");
  const parts = text.split(new RegExp(`(@(?:${either}))(?![\\p{L}\\p{N}_])`, "giu"));
  return parts
    .map((part, place) => (place % 2 ? mentionOf(part, names) : { type: "text", text: part }))
    .filter(({ text }) => text);
}

function mentionOf(text, names) {
  const same = (name) => name.toLocaleLowerCase() === text.slice(1).toLocaleLowerCase();
  return { type: "mention", text, me: names.some(({ name, me }) => me && same(name)) };
}

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

/** A few emoji and nothing else are shown large. */
export const isEmojiOnly = (text) => text.length <= 24 && EMOJI_ONLY.test(text);

/** The beginning, on one line. */
export function excerpt(text, most = 120) {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, most).trimEnd()}…` : line;
}
