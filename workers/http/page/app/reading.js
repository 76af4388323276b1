/**
 * Owns what somebody is reading in a list, as far as the page can know: what the keyboard's focus or a selection is in, and
 * what is in view.
 */

/**
 * @param {HTMLElement} list
 * @returns {HTMLElement[]} rows of it
 */
export function rowsBeingRead(list) {
  const focused = document.activeElement?.matches(":focus-visible") ? document.activeElement : null;
  const selection = getSelection();
  const selected = selection?.isCollapsed ? null : selection?.anchorNode?.parentElement;
  const rows = [focused, selected].map((node) => node && list.contains(node) && node.closest("[data-row]"));
  return rows.filter((row) => row instanceof HTMLElement);
}

/**
 * The first message that can be seen, and how far below the upper edge it begins.
 * @param {HTMLElement} scroller
 * @param {HTMLElement} list in it
 * @returns {{key: string, at: number} | null}
 */
export function firstInView(scroller, list) {
  const top = scroller.getBoundingClientRect().top;
  const seen = (/** @type {any} */ node) => node.dataset.offset && node.getBoundingClientRect().bottom > top;
  /** @type {any} */
  const node = [...list.children].find(seen);
  return node ? { key: node.dataset.row, at: node.getBoundingClientRect().top - top } : null;
}

/**
 * Somebody goes elsewhere: what was read need not be kept.
 * @param {HTMLElement} list
 * @param {HTMLElement} scroller gets the focus that was in the list
 */
export function stopReading(list, scroller) {
  if (list.contains(document.activeElement)) scroller.focus({ preventScroll: true });
  if (rowsBeingRead(list).length) getSelection()?.removeAllRanges();
}
