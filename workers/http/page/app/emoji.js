/**
 * Owns the emoji picker: all of Unicode's by category, found by name or keyword, in the tone that a person has chosen. They
 * come with the first picker; where the server has none to give, a small choice serves.
 */
import { el, isComposing } from "./dom.js";
import { fewEmoji } from "./few_emoji.js";
import { findEmoji } from "./find_emoji.js";
import { importBeside } from "./part.js";
import { moveFocus, openPopup } from "./popup.js";
import { kept } from "./storage.js";
import { t } from "./words.js";

const RECENT = "emoji";
const COLUMNS = 8;
const MOST_RECENT = 16;

/** @returns {string[]} those that were chosen last */
const recent = () => kept.get(RECENT, []);

const EMOJI_ADDRESS = new URL("./emoji.js", document.baseURI).href; // beside the page, not beside this script
const USED_LAST = "used last";
/** @type {Record<string, string>} */
const GROUP_NAMES = {
  [USED_LAST]: USED_LAST,
  "smileys & emotion": "Smileys and emotion",
  "people & body": "People and body",
  "animals & nature": "Animals and nature",
  "food & drink": "Food and drink",
  "travel & places": "Travel and places",
  activities: "Activities",
  objects: "Objects",
  symbols: "Symbols",
  flags: "Flags",
};
const TONE = "tone";
const TONES = ["✋", "✋🏻", "✋🏼", "✋🏽", "✋🏾", "✋🏿"];
const TONE_NAMES = ["yellow", "light", "medium light", "medium", "medium dark", "dark"];

/**
 * @typedef {object} Emoji
 * @property {string} character
 * @property {string} name
 * @property {string[]} codes as in `:code:`
 * @property {string[]} words by which it is found, too
 * @property {string[]} tones of skin, from light to dark; none: it has one colour
 *
 * @typedef {{name: string, emoji: Emoji[]}} Group
 */

/** @type {Promise<Group[]> | null} */
let loading = null;

/** All emoji that can be had, by category. @returns {Promise<Group[]>} */
export function loadEmoji() {
  loading ??= loadGroups();
  return loading;
}

async function loadGroups() {
  const few = [{ name: "emoji", emoji: fewEmoji() }];
  if (!document.querySelector("meta[name=emoji]")) return few;
  try {
    const { groups } = await importBeside(EMOJI_ADDRESS);
    return groups.map(groupFrom);
  } catch {
    loading = null; // the next picker asks again
    return few;
  }
}

/** @param {{name: string, emoji: string[][]}} given */
const groupFrom = ({ name, emoji }) => ({ name, emoji: emoji.map(emojiFrom) });

/** @param {string[]} given @returns {Emoji} */
function emojiFrom([character, name, codes, words, tones = ""]) {
  const list = (/** @type {string} */ text) => text.split(" ").filter(Boolean);
  return { character, name, codes: list(codes), words: list(words), tones: list(tones) };
}

/** In the tone that the person has chosen. @param {Emoji} one */
export function toned({ character, tones }) {
  return tones[kept.get(TONE, 0) - 1] ?? character;
}

/**
 * Let the person choose one.
 * @param {HTMLElement} anchor
 * @param {(character: string) => void} chosen
 * @param {HTMLElement} [focusBack]
 */
export async function openEmojiPicker(anchor, chosen, focusBack) {
  const search = el("input", { type: "search", placeholder: t("Search"), "aria-label": t("Search for an emoji") });
  const tone = el("button", { type: "button", class: "icon-button tone" });
  showTone(tone);
  const tabs = el("div", { class: "emoji-tabs", role: "group", "aria-label": t("Categories") });
  const grid = el(
    "div",
    { class: "emoji-grid", tabindex: "-1" },
    el("p", { class: "emoji-none", text: t("Loading…") }),
  );
  const head = el("div", { class: "emoji-head" }, search, tone);
  const picker = el("div", { class: "emoji-picker", role: "dialog", "aria-label": t("Emoji") }, head, tabs, grid);
  const close = openPopup(anchor, picker, { focusBack });
  if (!picker.closest(".sheet")) search.focus();
  const choose = (/** @type {string} */ character) => {
    close();
    kept.set(RECENT, [character, ...recent().filter((one) => one !== character)].slice(0, MOST_RECENT));
    chosen(character);
  };
  grid.addEventListener("click", (/** @type {any} */ { target }) => {
    const character = target.closest("button")?.dataset.emoji;
    if (character) choose(character);
  });
  const buttons = () => [...grid.querySelectorAll("button")];
  search.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (isComposing(event)) {
      if (event.key === "Escape") event.preventDefault(); // it ends the composition, and not the search
      return;
    }
    if (event.key === "Enter") {
      event.preventDefault(); // the focus goes to the text, where the same key would begin a new line
      loadEmoji().then(() => picker.isConnected && buttons()[0]?.click()); // who types fast is waited for
    }
    if (event.key === "ArrowDown") moveFocus(event, buttons());
  });
  grid.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => moveFocus(event, buttons(), COLUMNS));
  const groups = await loadEmoji();
  tone.hidden = !groups.some(({ emoji }) => emoji.some(({ tones }) => tones.length));
  const show = () => {
    showTone(tone);
    tabs.hidden = Boolean(search.value) || groups.length < 2;
    grid.replaceChildren(...(search.value ? found(groups, search.value) : sections(groups)));
  };
  search.addEventListener("input", show);
  tone.addEventListener("click", () => {
    kept.set(TONE, (kept.get(TONE, 0) + 1) % TONES.length);
    show();
  });
  tabs.append(...groups.map((group) => tab(group, grid)));
  show();
}

/** @param {HTMLElement} button */
function showTone(button) {
  const tone = kept.get(TONE, 0);
  button.textContent = TONES[tone];
  button.title = t("Tone of skin: {tone}", { tone: t(TONE_NAMES[tone]) });
  button.setAttribute("aria-label", button.title);
}

/**
 * @param {Group} group
 * @param {HTMLElement} grid
 */
function tab({ name, emoji }, grid) {
  const go = () => {
    const section = /** @type {HTMLElement | null} */ (grid.querySelector(`[data-group="${CSS.escape(name)}"]`));
    if (section) grid.scrollTop = section.offsetTop - grid.offsetTop;
  };
  const props = {
    type: "button",
    class: "icon-button small",
    title: groupName(name),
    "aria-label": groupName(name),
    on: { click: go },
  };
  return el("button", { ...props, text: emoji[0]?.character });
}

/** @param {string} name of a group, as the emoji come */
const groupName = (name) => t(GROUP_NAMES[name] ?? name);

/** @param {Group[]} groups */
function sections(groups) {
  const before = recent().map((character) => ({ character, name: character, codes: [], words: [], tones: [] }));
  const all = before.length ? [{ name: USED_LAST, emoji: before }, ...groups] : groups;
  return all.map(({ name, emoji }, place) => {
    const cells = emoji.map((one, at) => cell(one, place === 0 && at === 0));
    const heading =
      groups.length > 1 || before.length ? el("h3", { class: "emoji-title", text: groupName(name) }) : null;
    return el(
      "div",
      { class: "emoji-group", role: "group", "aria-label": groupName(name), data: { group: name } },
      heading,
      ...cells,
    );
  });
}

/**
 * @param {Group[]} groups
 * @param {string} asked
 */
function found(groups, asked) {
  const cells = findEmoji(
    groups.flatMap(({ emoji }) => emoji),
    asked,
  ).map((one, at) => cell(one, at === 0));
  if (!cells.length) return [el("p", { class: "emoji-none", text: t("Nothing by that name") })];
  return [el("div", { class: "emoji-group", role: "group", "aria-label": t("Found") }, ...cells)];
}

/**
 * @param {Emoji} one
 * @param {boolean} first the one that Tab reaches
 */
function cell(one, first) {
  const character = toned(one);
  const label = one.name;
  return el("button", {
    type: "button",
    tabindex: first ? "0" : "-1",
    "aria-label": label,
    title: one.codes.length ? `${label} :${one.codes[0]}:` : label,
    text: character,
    data: { emoji: character },
  });
}
