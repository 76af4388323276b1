/**
 * Owns the language of the page. The texts of the page are written in English where they are used, as `t("Leave this
 * room")`; the catalogues `words/<language>.json` translate them, by the English text. A test finds texts without `t`, and
 * texts that a catalogue lacks.
 *
 * A text may have places, as `t("Write to {name}", { name })`. A text with a number has a form for one and a form for
 * other numbers, and its translation has as many forms as the language needs (Intl.PluralRules); the catalogues have it by
 * the form for other numbers.
 */
import { kept } from "./storage.js";

/** @type {Record<string, string>} the languages by what each calls itself */
export const LANGUAGES = { en: "English", de: "Deutsch", ja: "日本語", "zh-Hans": "简体中文" };
const ENGLISH = "en"; // needs no catalogue
const LANGUAGE_KEPT = "language"; // the one that was chosen by hand

/** @typedef {Record<string, string | Record<string, string>>} Catalogue */
/** @typedef {Record<string, string | number>} Values */

let language = ENGLISH;
/** @type {Catalogue} */
let catalogue = {};
let locale = /** @type {string | undefined} */ (undefined); // undefined: the browser's own

/** The language of the page, as in `<html lang>`. */
export const pageLanguage = () => language;

/** What `Intl` is given: the reader's own region where the language of the page is the reader's own. */
export const pageLocale = () => locale;

/**
 * A text of the page in the language of the page.
 * @param {string} text in English
 * @param {Values} [values] for its places
 */
export function t(text, values) {
  const translated = catalogue[text];
  return filled(typeof translated === "string" ? translated : text, values);
}

/**
 * A text with a number, which is its place `{count}`.
 * @param {number} count
 * @param {string} one in English, for 1
 * @param {string} other in English, for other numbers
 * @param {Values} [values]
 */
export function plural(count, one, other, values) {
  const forms = catalogue[other] ?? { one, other };
  if (typeof forms === "string") return filled(forms, { count, ...values });
  const form = forms[new Intl.PluralRules(language).select(count)] ?? forms.other;
  return filled(form, { count, ...values });
}

/**
 * A text with nodes in its places: what `append` takes.
 * @param {string} text in English
 * @param {Record<string, string | Node>} nodes
 * @returns {(string | Node)[]}
 */
export function tParts(text, nodes) {
  return t(text)
    .split(/\{(\w+)\}/)
    .map((part, place) => (place % 2 ? nodes[part] : part))
    .filter((part) => part !== "");
}

/**
 * "A, B and C" with nodes for the names.
 * @param {Node[]} nodes
 * @returns {(string | Node)[]}
 */
export function listed(nodes) {
  const places = nodes.map((_, place) => String(place));
  return new Intl.ListFormat(language, { type: "conjunction" })
    .formatToParts(places)
    .map(({ type, value }) => (type === "element" ? nodes[Number(value)] : value));
}

/**
 * @param {string} text
 * @param {Values} [values]
 */
function filled(text, values) {
  return values ? text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole)) : text;
}

// ---- which language, and its words ---------------------------------------------------------------

/**
 * The first language of the reader's that the page has; English where it has none. Chinese in traditional characters is
 * none of the page's.
 * @param {readonly string[]} wanted as `navigator.languages`, the best first
 */
export function languageFor(wanted) {
  for (const tag of wanted) {
    const { language: base, script } = maximized(tag);
    const known = base === "zh" ? `zh-${script}` : base;
    if (known in LANGUAGES) return known;
  }
  return ENGLISH;
}

/** @param {string} tag */
function maximized(tag) {
  try {
    return new Intl.Locale(tag).maximize();
  } catch {
    return { language: "", script: "" };
  }
}

/**
 * Use a catalogue.
 * @param {string} name of the language
 * @param {Catalogue} words
 * @param {readonly string[]} [wanted]
 */
export function speak(name, words, wanted = []) {
  language = name;
  catalogue = words;
  locale = name === ENGLISH && !wanted.length ? undefined : (wanted.find((tag) => languageFor([tag]) === name) ?? name);
}

/** Load the words of the reader's language, and put them into the page as it was sent. */
export async function learnWords() {
  const chosen = kept.get(LANGUAGE_KEPT, "");
  const name = chosen in LANGUAGES ? chosen : languageFor(navigator.languages);
  try {
    const words = name === ENGLISH ? {} : await (await fetch(`./words/${name}.json`)).json();
    speak(name, words, navigator.languages);
  } catch {
    speak(ENGLISH, {}, navigator.languages); // the page works in English
  }
  document.documentElement.lang = language;
  if (language !== ENGLISH) translate(document.body);
}

/**
 * The choice of a person; "" for the browser's languages.
 * @param {string} name
 */
export const chooseLanguage = (name) => kept.set(LANGUAGE_KEPT, name || undefined);

/** The choice of a person, or "". */
export const chosenLanguage = () => kept.get(LANGUAGE_KEPT, "");

const SPOKEN = ["aria-label", "title", "placeholder"];

/**
 * Put the words of the language in the place of the English ones of index.html.
 * @param {Element} root
 */
function translate(root) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.nodeValue?.trim();
    if (text) node.nodeValue = (node.nodeValue ?? "").replace(text, () => t(text));
  }
  for (const name of SPOKEN)
    for (const node of root.querySelectorAll(`[${name}]`)) node.setAttribute(name, t(node.getAttribute(name) ?? ""));
}
