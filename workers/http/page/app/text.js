/**
 * Owns what becomes of a message's text: code, links, mentions, emphasis, and the rest. `tokens` is pure; `rendered` makes
 * nodes of them: text nodes in elements that this file names, and links whose address was checked.
 */
/** @import { Block, Inline } from "./markup.js" */
import { coloured } from "./code.js";
import { el, icon } from "./dom.js";
import { linksIn } from "./links.js";
import { blocksOf, emphasised } from "./markup.js";
import { t } from "./words.js";

// Three backquotes around lines, which may name a language first, or one around a few words.
const CODE = /\n?```(?:[\w+#-]*\n)?([\s\S]+?)\n?```\n?|`([^`\n]+)`/gu;
const MOST_LOOKED_AT = 500; // @ in a piece of text: the server finds no mention behind the first hundreds, either
const MOST_QUOTES = 3; // in each other
const LOOKED_FOR_LINE = 8; // times the length of an excerpt
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
 * The names by their folding, and how long they may be as they are written, the longest first.
 * @param {{name: string, me: boolean}[]} mentions
 */
function indexed(mentions) {
  /** @type {Map<string, boolean>} */
  const names = new Map();
  for (const { name, me } of mentions)
    if (name) names.set(foldedName(name), me || names.get(foldedName(name)) === true);
  const written = mentions.flatMap(({ name }) => [name, foldedName(name), name.normalize("NFD")]);
  const lengths = [...new Set(written.map((one) => one.length))].filter(Boolean).sort((a, b) => b - a);
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
    found.push({ type: "mention", text: name, me: Boolean(names.get(foldedName(name.slice(1)))) });
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
  return end <= text.length && names.has(foldedName(text.slice(from, end))) && !isInWord(text, end);
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

/**
 * As the server compares names; the upper case first makes "ss" of "ß".
 * @param {string} name
 */
const foldedName = (name) => name.normalize("NFKC").toUpperCase().toLowerCase();

/**
 * @param {string} text
 * @param {{name: string, me: boolean}[]} [mentions]
 * @returns {(Node | string)[]}
 */
export function rendered(text, mentions = []) {
  return blocksOf(text).flatMap((block) => blockNodes(block, mentions));
}

/**
 * @param {Block} block
 * @param {{name: string, me: boolean}[]} mentions
 * @param {number} [depth] of quotes in quotes
 * @returns {(Node | string)[]}
 */
function blockNodes(block, mentions, depth = 0) {
  const line = (/** @type {string} */ words) => emphasised(tokens(words, mentions)).map(inlineNode);
  if (block.type === "code") return [codeNode(block.text, block.language)];
  if (block.type === "list") {
    const items = block.items.map((item) => el("li", {}, ...line(item)));
    return [block.start === null ? el("ul", {}, ...items) : el("ol", { start: block.start }, ...items)];
  }
  if (block.type === "quote") {
    const inner = depth < MOST_QUOTES ? blocksOf(block.text) : [{ ...block, type: /** @type {const} */ ("text") }];
    return [el("blockquote", {}, ...inner.flatMap((one) => blockNodes(one, mentions, depth + 1)))];
  }
  return line(block.text);
}

/**
 * @param {Inline} part
 * @returns {Node}
 */
function inlineNode(part) {
  if (part.type === "emphasis") {
    const { as, children } = /** @type {{as: string, children: Inline[]}} */ (part);
    return el(as, {}, ...children.map(inlineNode));
  }
  const token = /** @type {Token} */ (part);
  if (token.type === "text") return document.createTextNode(token.text);
  if (token.type === "mention") return el("span", { class: token.me ? "mention mine" : "mention", text: token.text });
  if (token.type === "code") return el("code", { text: token.text });
  // The host, since an address can be written so that it seems to lead elsewhere.
  return el("a", {
    href: token.href,
    title: token.host,
    target: "_blank",
    rel: "noopener noreferrer nofollow",
    text: token.text,
  });
}

/**
 * Lines of code, with a button that copies them.
 * @param {string} text
 * @param {string} language as it was named; "": not
 */
function codeNode(text, language) {
  const code = el("code", { dir: "ltr" }, ...coloured(text, language));
  const copy = el(
    "button",
    {
      type: "button",
      class: "code-copy",
      "aria-label": t("Copy the code"),
      title: t("Copy the code"),
      data: { act: "copy" },
    },
    icon("copy"),
  );
  return el("div", { class: "code-box" }, el("pre", { class: "code", dir: "ltr" }, code), copy);
}

/**
 * A few emoji and nothing else are shown large.
 * @param {string} text
 */
export const isEmojiOnly = (text) => text.length <= 24 && EMOJI_ONLY.test(text);

/**
 * The beginning, on one line, without its marks.
 * @param {string} text
 */
export function excerpt(text, most = 120) {
  const beginning = text.trimStart().slice(0, most * LOOKED_FOR_LINE);
  const words = blocksOf(beginning).map((block) => (block.type === "list" ? block.items.join(" ") : block.text));
  const plain = words.map((one) => wordsOf(emphasised(tokens(one)))).join(" ");
  const line = plain.replace(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, most).trimEnd()}…` : line;
}

/**
 * @param {Inline[]} parts
 * @returns {string}
 */
const wordsOf = (parts) => parts.map((part) => ("children" in part ? wordsOf(part.children) : part.text)).join("");

const FOLD_LINES = 14;
const FOLD_LETTERS = 1400;

/**
 * The beginning of a long text, to be shown at first; null: it is not long.
 * @param {string} text
 * @returns {string | null}
 */
export function folded(text) {
  let end = 0;
  for (let line = 0; line < FOLD_LINES && end >= 0; line += 1) end = text.indexOf("\n", line ? end + 1 : 0);
  const cut = Math.min(end < 0 ? Infinity : end, FOLD_LETTERS);
  if (text.length <= cut * 1.25 && (end < 0 || text.indexOf("\n", end + 1) < 0 || text.length <= cut)) return null;
  const beginning = text.slice(0, cut).replace(/[\ud800-\udbff]$/, "");
  return beginning.split("```").length % 2 ? beginning : `${beginning}\n\`\`\``;
}
