/**
 * Owns the colours of code: those of highlight.js, which comes with the first lines of code that name a language. What it
 * finds becomes elements here; no markup is taken over. Where it cannot be had, code is shown as it is.
 */
import { el } from "./dom.js";
import { importBeside } from "./part.js";

const HIGHLIGHT_ADDRESS = "./highlight.js"; // beside the page
const MOST_COLOURED = 20_000; // letters; longer code stays as it is
const MOST_REMEMBERED = 100;

/** @typedef {string | {scope?: string, children: Part[]}} Part of highlighted code */
/** @typedef {(text: string, language: string) => Part[] | null} Highlighter null: it does not know the language */

/** @type {Highlighter | null | undefined | false} undefined: not asked for yet; null: on its way; false: not to be had */
let highlight;
/** @type {Map<string, Part[]>} by language and text */
const known = new Map();
/** @type {Set<{node: Node, text: string, language: string}>} */
const waiting = new Set();

/**
 * What stands in a code element.
 * @param {string} text
 * @param {string} language
 * @returns {(Node | string)[]}
 */
export function coloured(text, language) {
  if (!language || text.length > MOST_COLOURED || !document.querySelector("meta[name=highlight]")) return [text];
  if (highlight) return partsOf(text, language).map(nodeOfPart);
  const node = document.createTextNode(text);
  waiting.add({ node, text, language });
  if (highlight === undefined) loadHighlighter();
  return [node];
}

async function loadHighlighter() {
  highlight = null;
  try {
    highlight = (await importBeside(HIGHLIGHT_ADDRESS)).highlight;
  } catch {
    highlight = false; // code stays as it is
    return;
  }
  for (const { node, text, language } of waiting) {
    if (node.parentNode) /** @type {Element} */ (node.parentNode).replaceChildren(...coloured(text, language));
  }
  waiting.clear();
}

/** The connection is there again: what did not come without one is asked for once more. */
export function colourAgain() {
  if (highlight === false) loadHighlighter();
}

/**
 * @param {string} text
 * @param {string} language
 */
function partsOf(text, language) {
  const key = `${language} ${text}`;
  const parts = known.get(key) ?? (highlight || null)?.(text, language.toLowerCase()) ?? [text];
  known.delete(key);
  known.set(key, parts);
  if (known.size > MOST_REMEMBERED) known.delete(known.keys().next().value ?? "");
  return parts;
}

/**
 * @param {Part} part
 * @returns {Node}
 */
function nodeOfPart(part) {
  if (typeof part === "string") return document.createTextNode(part);
  const name = part.scope?.split(".")[0].replace(/[^a-z-]/g, "");
  return el("span", { class: name && `hl-${name}` }, ...part.children.map(nodeOfPart));
}
