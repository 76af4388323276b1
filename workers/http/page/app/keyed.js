/**
 * Owns lists on the page by keys: a row that stays keeps its node, whatever changes about it, so that a press, the focus
 * and a selection in it outlast whatever comes meanwhile. Rows have no listeners of their own: what a press on a part of
 * one means is in the part's `data-act`, which the list hears. While the mouse is over a list that `settles`, no row changes
 * its place: new ones come last.
 */

// Set by menus and by the one stop of the Tab key, not by what draws a row.
const OTHERS = new Set(["tabindex", "aria-expanded", "data-row", "data-found"]);

/** @typedef {{key: string, depends: string}} KeyedRow */

export class KeyedList {
  /**
   * @param {any} parent
   * @param {(row: any) => any} make a row's node
   * @param {(act: string, row: any, node: any) => void} acted a part with `data-act` was pressed
   * @param {() => void} [settles] draws the list anew, once the mouse has left it
   */
  constructor(parent, make, acted, settles) {
    this.parent = parent;
    this.make = make;
    /** @type {Map<string, {row: any, node: any}>} */
    this.shown = new Map();
    this.held = false;
    if (settles) {
      parent.addEventListener("pointermove", (/** @type {PointerEvent} */ { pointerType }) => {
        this.held = pointerType === "mouse";
      });
      parent.addEventListener("pointerleave", () => {
        this.held = false;
        settles();
      });
    }
    parent.addEventListener("click", (/** @type {any} */ event) => {
      const part = event.target.closest("[data-act]");
      const found = part && this.shown.get(part.closest("[data-row]")?.dataset.row);
      if (found) acted(part.dataset.act, found.row, part);
    });
  }

  /** @param {KeyedRow[]} rows in order, each key once */
  draw(rows) {
    const before = this.shown;
    const focused = document.activeElement?.matches(":focus-visible") ? document.activeElement : null;
    const byKey = this.parent.contains(focused) && focused?.closest("[data-row]");
    const place = [...this.parent.children].indexOf(byKey);
    this.shown = new Map();
    for (const row of this.held ? inPlace(rows, before) : rows)
      this.shown.set(row.key, { row, node: this.nodeFor(row, before.get(row.key)) });
    arrange(
      this.parent,
      [...this.shown.values()].map(({ node }) => node),
    );
    if (byKey && !focused?.isConnected) focusOn(byKey.isConnected ? byKey : this.parent.children[place]);
  }

  /**
   * @param {any} row
   * @param {{row: any, node: any} | undefined} known
   */
  nodeFor(row, known) {
    if (known && known.row.depends === row.depends) return known.node;
    const made = this.make(row);
    made.dataset.row = row.key;
    if (!known || !isSame(known.node, made)) return made;
    morph(known.node, made);
    return known.node;
  }

  /** @param {string} key */
  node(key) {
    return this.shown.get(key)?.node;
  }

  clear() {
    this.shown.clear();
    this.parent.replaceChildren();
  }
}

/**
 * @param {KeyedRow[]} rows
 * @param {Map<string, unknown>} before
 */
function inPlace(rows, before) {
  const order = [...before.keys()];
  const placeOf = (/** @type {KeyedRow} */ { key }) => (before.has(key) ? order.indexOf(key) : order.length);
  return [...rows].sort((one, other) => placeOf(one) - placeOf(other));
}

/**
 * What had the focus of somebody at the keyboard is gone.
 * @param {any} row its own, or the one in its place
 */
function focusOn(row) {
  const target = row?.hasAttribute("tabindex") ? row : row?.querySelector("button");
  (target ?? document.getElementById("text"))?.focus({ preventScroll: true });
}

/**
 * Make a list of nodes the children of `parent`, moving as little as possible, so that focus and selection stay.
 * @param {any} parent
 * @param {any[]} nodes
 */
function arrange(parent, nodes) {
  const focused = document.activeElement;
  const wanted = new Set(nodes);
  for (const child of [...parent.childNodes]) if (!wanted.has(child)) child.remove();
  let next = parent.firstChild;
  for (const node of nodes) {
    if (node === next) next = next.nextSibling;
    else parent.insertBefore(node, next);
  }
  if (focused !== document.activeElement && parent.contains(focused))
    /** @type {any} */ (focused).focus({ preventScroll: true });
}

/**
 * Give `node` the attributes and children of `wanted`, keeping of its own what is the same.
 * @param {any} node
 * @param {any} wanted
 */
export function morph(node, wanted) {
  for (const { name } of [...node.attributes])
    if (!OTHERS.has(name) && !wanted.hasAttribute(name)) node.removeAttribute(name);
  for (const { name, value } of wanted.attributes) {
    if (OTHERS.has(name) || node.getAttribute(name) === value) continue;
    if (name === "style")
      node.style.cssText = value; // as an attribute the page's own policy forbids it
    else node.setAttribute(name, value);
  }
  morphChildren(node, wanted);
}

/**
 * @param {any} node
 * @param {any} wanted
 */
function morphChildren(node, wanted) {
  let at = node.firstChild;
  for (const child of [...wanted.childNodes]) {
    const same = firstSame(at, child);
    if (!same) {
      node.insertBefore(child, at);
      continue;
    }
    removeUntil(at, same);
    if (child.nodeType === Node.ELEMENT_NODE) morph(same, child);
    else if (same.nodeValue !== child.nodeValue) same.nodeValue = child.nodeValue;
    at = same.nextSibling;
  }
  removeUntil(at, null);
}

/**
 * @param {any} from
 * @param {any} wanted
 */
function firstSame(from, wanted) {
  for (let node = from; node; node = node.nextSibling) if (!isGuest(node) && isSame(node, wanted)) return node;
  return null;
}

/**
 * @param {any} from
 * @param {any} end
 */
function removeUntil(from, end) {
  for (let node = from; node && node !== end; ) {
    const next = node.nextSibling;
    if (!isGuest(node)) node.remove();
    node = next;
  }
}

/**
 * What others put into a row, like the bar of actions.
 * @param {any} node
 */
const isGuest = (node) => node.dataset?.guest !== undefined;

/**
 * Whether two nodes are the same part of a row: by key, or by name and first class.
 * @param {any} one
 * @param {any} other
 */
function isSame(one, other) {
  if (one.nodeName !== other.nodeName) return false;
  if (one.nodeType !== Node.ELEMENT_NODE) return true;
  return one.dataset.key === other.dataset.key && firstClass(one) === firstClass(other);
}

/** @param {any} node */
const firstClass = (node) => node.getAttribute("class")?.split(" ")[0] ?? "";
