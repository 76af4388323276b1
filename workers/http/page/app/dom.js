/** Owns how elements are made. Text only ever becomes a text node: there is no way to markup in here. */
import { colourOf } from "./colours.js";
import { press } from "./press.js";

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/**
 * Write a text where another one stands: what is the same keeps a selection in it.
 * @param {string} id
 * @param {string} text
 */
export function write(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
}

/**
 * Make an element. `props`: `class`, `text`, `on` ({event: listener}), `data` (dataset), else attributes; undefined,
 * null and false leave an attribute out, true makes it empty.
 * @param {string} tag
 * @param {Record<string, any>} [props]
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {any}
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) set(node, name, value);
  node.append(
    ...children.filter((child) => child || child === "").map((child) => /** @type {Node | string} */ (child)),
  );
  return node;
}

/**
 * @param {any} node
 * @param {string} name
 * @param {any} value
 */
function set(node, name, value) {
  if (value === undefined || value === null || value === false) return;
  if (name === "class") node.className = value;
  else if (name === "text") node.textContent = value;
  else if (name === "on") for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
  else if (name === "data") Object.assign(node.dataset, value);
  else node.setAttribute(name, value === true ? "" : String(value));
}

/**
 * One of the page's icons, by its name in index.html.
 * @param {string} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/**
 * A button that is only an icon, with its name for those who do not see it.
 * @param {string} name
 * @param {string} label
 * @param {any} onclick
 */
export function iconButton(name, label, onclick, props = {}) {
  return el(
    "button",
    { type: "button", class: "icon-button", "aria-label": label, title: label, ...props, on: { click: onclick } },
    icon(name),
  );
}

/**
 * A name as it was given, whatever its direction.
 * @param {string} text
 */
export const bdi = (text, props = {}) => el("bdi", { ...props, text });

/**
 * A small coloured tile with a person's initials; the colour is the user's own.
 * @param {string} user
 * @param {string} name
 */
export function avatar(user, name, size = "") {
  const node = el("span", {
    class: `avatar ${size}`,
    "aria-hidden": "true",
    data: { initials: initials(name, size === "tiny" ? 1 : 2) }, // drawn by the style: they are no part of a label
  });
  const { hue, light } = colourOf(user);
  node.style.setProperty("--hue", String(hue));
  if (light) node.classList.add("light");
  return node;
}

/**
 * @param {string} name
 * @param {number} most
 */
function initials(name, most) {
  const words = name
    .replace(/([\p{Ll}])(?=\p{Lu})/gu, "$1 ")
    .split(/[^\p{L}\p{N}]+/u)
    .filter(Boolean);
  const letters = (words[1] && /^\p{L}/u.test(words[1]) ? words.slice(0, 2) : words.slice(0, 1)).map(
    (word) => [...word][0],
  );
  return letters.slice(0, most).join("").toLocaleUpperCase() || "?";
}

/**
 * Put words in the place of the selection in a box, so that the browser can undo it.
 * @param {HTMLTextAreaElement} box
 * @param {string} words
 */
export function insertText(box, words) {
  if (document.activeElement === box && document.execCommand("insertText", false, words)) return;
  box.setRangeText(words, box.selectionStart, box.selectionEnd, "end");
  box.dispatchEvent(new Event("input", { bubbles: true }));
}

/**
 * Whether a key belongs to an input method (IME) that composes text. Safari sends the key that ends a composition after
 * its end, as key code 229 (UI Events, 7.3.1).
 * @param {KeyboardEvent} event
 */
export const isComposing = (event) => event.isComposing || event.keyCode === 229;

/**
 * Call once in the next frame, however often it was asked for; not while something is pressed, see press.js. Hidden tabs
 * have no frames: then soon.
 * @param {() => void} work
 */
export function onceAFrame(work) {
  let asked = false;
  const run = () => {
    if (press.defers(run)) return;
    asked = false;
    work();
  };
  return () => {
    if (asked) return;
    asked = true;
    if (document.hidden) setTimeout(run, 50);
    else requestAnimationFrame(run);
  };
}
