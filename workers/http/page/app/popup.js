/**
 * Owns what opens over the page next to a button, or as a sheet at the foot of a phone: placing it, closing it, giving the
 * focus back; and menus in it.
 */
import { byId, el, icon } from "./dom.js";
import { addMenuIcons } from "./menu_icons.js";

/** Whether there are sheets instead of popups. */
export const SHEET = matchMedia("(pointer: coarse) and (width < 45rem)");
const GAP = 6; // px to the anchor and to the window's edge

/**
 * Show `content` next to `anchor`. It closes by Escape or a press elsewhere, and the focus goes back.
 * @param {HTMLElement} anchor
 * @param {any} content
 * @param {{onclose?: () => void, focusBack?: HTMLElement}} [options]
 * @returns {() => void} closes it
 */
export function openPopup(anchor, content, { onclose, focusBack = anchor } = {}) {
  if (SHEET.matches) return openSheet(anchor, content, { onclose });
  content.classList.add("popup");
  content.setAttribute("popover", "auto");
  (anchor.closest("nav, main, aside") ?? document.body).append(content);
  content.showPopover();
  const observer = new ResizeObserver(() => place(anchor, content));
  observer.observe(content);
  place(anchor, content);
  anchor.setAttribute("aria-expanded", "true");
  const close = () => content.isConnected && content.hidePopover();
  content.addEventListener("toggle", (/** @type {ToggleEvent} */ event) => {
    if (event.newState !== "closed") return;
    const hadFocus = content.contains(document.activeElement) || document.activeElement === document.body;
    content.remove();
    observer.disconnect();
    anchor.removeAttribute("aria-expanded");
    if (hadFocus) (focusBack.isConnected ? focusBack : byId("text")).focus();
    onclose?.();
  });
  return close;
}

/**
 * A dialog, because the press that opens it by its length would close a popover at its end. The focus goes to the sheet
 * itself: to a box it would bring up the keyboard over it.
 * @param {HTMLElement} anchor
 * @param {HTMLElement} content
 * @param {{onclose?: () => void}} options
 */
function openSheet(anchor, content, { onclose }) {
  const label = content.getAttribute("aria-label");
  const sheet = el("dialog", { class: "sheet", "aria-label": label, tabindex: "-1" }, content);
  sheet.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    if (event.target === sheet) sheet.close();
  });
  sheet.addEventListener("close", () => {
    sheet.remove();
    anchor.removeAttribute("aria-expanded");
    onclose?.();
  });
  anchor.setAttribute("aria-expanded", "true");
  document.body.append(sheet);
  content.inert = true; // while the dialog looks for what to focus
  sheet.showModal();
  content.inert = false;
  sheet.focus();
  return () => sheet.close();
}

/**
 * Below the anchor or above it, wherever there is room, inside the window.
 * @param {HTMLElement} anchor
 * @param {HTMLElement} content
 */
function place(anchor, content) {
  if (!content.matches(".popup")) return;
  const at = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = content;
  const below = at.bottom + GAP + height <= innerHeight - GAP;
  const top = below ? at.bottom + GAP : Math.max(GAP, at.top - GAP - height);
  const end = getComputedStyle(content).direction === "rtl" ? at.left : at.right - width;
  const left = at.left + width <= innerWidth - GAP ? at.left : end;
  content.style.top = `${top}px`;
  content.style.left = `${Math.max(GAP, Math.min(left, innerWidth - width - GAP))}px`;
}

/**
 * Close the popup or sheet that a node is in.
 * @param {HTMLElement} node
 */
export function closeAround(node) {
  /** @type {HTMLDialogElement | null} */ (node.closest(".sheet"))?.close();
  /** @type {HTMLElement | null} */ (node.closest(".popup"))?.hidePopover();
}

/**
 * @typedef {{icon: string, text: string, danger?: boolean, act: () => void} | null} MenuItem null: a line
 */

/**
 * Open a menu (WAI-ARIA menu pattern: arrows move, Home, End, Escape).
 * @param {HTMLElement} anchor
 * @param {string} title
 * @param {MenuItem[]} items
 * @param {HTMLElement} [head] instead of the title
 */
export function openMenu(anchor, title, items, head) {
  addMenuIcons();
  const menu = el("div", { class: "menu", role: "menu", "aria-label": title });
  menu.append(head ?? el("div", { class: "menu-title", "aria-hidden": "true" }, el("bdi", { text: title })));
  const close = openPopup(anchor, menu);
  for (const item of items) menu.append(item ? menuItem(item, close) : el("hr"));
  place(anchor, menu);
  const buttons = [...menu.querySelectorAll("button")];
  menu.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => moveFocus(event, buttons));
  buttons[0]?.focus();
}

/**
 * @param {NonNullable<MenuItem>} item
 * @param {() => void} close
 */
function menuItem(item, close) {
  const act = () => {
    close();
    item.act();
  };
  const props = {
    type: "button",
    role: "menuitem",
    tabindex: "-1",
    class: item.danger ? "menu-item danger" : "menu-item",
  };
  return el("button", { ...props, on: { click: act } }, icon(item.icon), el("span", { text: item.text, dir: "auto" }));
}

/**
 * Arrow keys among `nodes`; `columns` of a grid.
 * @param {KeyboardEvent} event
 * @param {HTMLElement[]} nodes
 * @param {number} [columns]
 */
export function moveFocus(event, nodes, columns = 1) {
  const at = nodes.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  /** @type {Record<string, number>} */
  const steps = { ArrowDown: columns, ArrowUp: -columns, Home: -at, End: nodes.length - 1 - at };
  if (columns > 1) Object.assign(steps, { ArrowRight: 1, ArrowLeft: -1 });
  const step = steps[event.key];
  if (step === undefined || !nodes.length) return;
  event.preventDefault();
  nodes[(at + step + nodes.length) % nodes.length]?.focus();
}
