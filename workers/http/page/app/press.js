/**
 * Owns whether a button of the mouse, a finger or a pen is down: meanwhile nothing on the page is drawn anew, because a
 * click needs its node to be there, in its place, at the release. A long press, such as a selection being drawn, holds the
 * page for a second; after that it is drawn without being scrolled.
 */

const HELD_FOR = 1000; // ms
const CLICK_WITHIN = 30; // ms after a finger is lifted; with a mouse the click comes in the same task

class Press {
  constructor() {
    this.begun = 0; // 0: nothing is down
    /** @type {Set<() => void>} */
    this.waiting = new Set();
    this.timer = 0;
    this.ending = false; // lifted; a click may follow
  }

  listen() {
    const options = { capture: true, passive: true };
    addEventListener("pointerdown", ({ button }) => button === 0 && this.began(), options);
    // Released over a scroll bar, a menu of the browser's own or another window, a press ends without a word.
    addEventListener("pointermove", ({ buttons }) => this.begun && !buttons && !this.ending && this.ended(), options);
    addEventListener("contextmenu", () => this.ended(), options);
    addEventListener("pointerup", () => this.endsIn(CLICK_WITHIN), options);
    addEventListener("click", () => this.endsIn(0), options);
    for (const type of ["pointercancel", "dragend"]) addEventListener(type, () => this.ended(), options);
    addEventListener("blur", ({ target }) => target === window && this.ended());
  }

  began() {
    this.begun = performance.now();
    this.ending = false;
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.flush(), HELD_FOR);
  }

  /** @param {number} delay */
  endsIn(delay) {
    if (!this.begun) return;
    this.ending = true;
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.ended(), delay);
  }

  ended() {
    this.begun = 0;
    clearTimeout(this.timer);
    this.flush();
  }

  flush() {
    const waiting = [...this.waiting];
    this.waiting.clear();
    for (const work of waiting) work();
  }

  /** Whether what is pointed at must not move. */
  get isDown() {
    return this.begun > 0;
  }

  /**
   * Whether drawing has to wait; `work` is called when it need not any more.
   * @param {() => void} work
   */
  defers(work) {
    if (!this.begun || performance.now() - this.begun >= HELD_FOR) return false;
    this.waiting.add(work);
    return true;
  }
}

export const press = new Press();
