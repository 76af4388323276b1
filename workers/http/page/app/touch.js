/**
 * Owns what a finger does to a message: held still it opens the message's sheet, moved towards the end of the line it
 * answers the message. Whatever scrolls is the browser's.
 */

const HELD_AFTER = 450; // ms
const CLICK_WITHIN_LIFT = 50; // ms
const STILL_WITHIN = 10; // px
const ANSWERS_FROM = 64; // px
const FOLLOWS_UP_TO = 84; // px that the message follows

/**
 * @param {HTMLElement} list of messages
 * @param {{held: (node: HTMLElement) => void, swiped: (node: HTMLElement) => void}} means
 */
export function listenToTouch(list, { held, swiped }) {
  /** @type {{node: HTMLElement, x: number, y: number, moved: number, timer: number} | null} */
  let touch = null;
  const end = () => {
    if (!touch) return;
    clearTimeout(touch.timer);
    touch.node.style.removeProperty("translate");
    touch.node.classList.remove("answering");
    touch = null;
  };
  list.addEventListener("pointerdown", (event) => {
    end();
    const node = /** @type {HTMLElement} */ (event.target).closest?.(".message[data-offset]");
    if (event.pointerType !== "touch" || !event.isPrimary || !(node instanceof HTMLElement)) return;
    const timer = window.setTimeout(() => {
      end();
      swallowClick();
      held(node);
    }, HELD_AFTER);
    touch = { node, x: event.clientX, y: event.clientY, moved: 0, timer };
  });
  list.addEventListener("pointermove", (event) => {
    if (!touch) return;
    const [x, y] = [event.clientX - touch.x, event.clientY - touch.y];
    if (Math.hypot(x, y) > STILL_WITHIN) clearTimeout(touch.timer);
    const sign = getComputedStyle(list).direction === "rtl" ? -1 : 1;
    touch.moved = Math.abs(x) > Math.abs(y) ? Math.max(0, Math.min(FOLLOWS_UP_TO, x * sign)) : 0;
    touch.node.style.setProperty("translate", touch.moved > STILL_WITHIN ? `${touch.moved * sign}px` : "none");
    touch.node.classList.toggle("answering", touch.moved >= ANSWERS_FROM);
  });
  list.addEventListener("pointerup", () => {
    const answers = touch && touch.moved >= ANSWERS_FROM ? touch.node : null;
    end();
    if (answers) swiped(answers);
  });
  list.addEventListener("pointercancel", end);
  // The browser's own menu of a long press; on a link it is what is wanted.
  list.addEventListener("contextmenu", (event) => {
    const byTouch = /** @type {any} */ (event).pointerType === "touch";
    if (byTouch && !(/** @type {HTMLElement} */ (event.target).closest("a"))) event.preventDefault();
  });
}

/** The click that lifting the finger may still make is none on what has opened under it. */
function swallowClick() {
  const swallow = (/** @type {Event} */ event) => {
    event.preventDefault();
    event.stopPropagation();
  };
  const lifted = () => setTimeout(() => removeEventListener("click", swallow, true), CLICK_WITHIN_LIFT);
  addEventListener("click", swallow, { capture: true, once: true });
  for (const type of ["pointerup", "pointercancel"]) addEventListener(type, lifted, { capture: true, once: true });
}
