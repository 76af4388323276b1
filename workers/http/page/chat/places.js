/**
 * Owns where a client is in each room's log, and whether the next entry may be shown. Pure.
 *
 * The server promises offsets without holes, each once, but for `gap` and `reset`. This guard makes it true for the
 * application whatever happens between: a known entry is dropped, and one that comes too early is a hole, for
 * which the connection is cut and resumed from the last known place. Where the same hole is there again after that, it is
 * told as a gap: going round for ever would help nobody.
 */

/** @typedef {{epoch: string, offset: number}} Position */

export const SHOW = "show";
export const DROP = "drop";
export const RESUME = "resume"; // something before it is missing: come back with `since`
export const SHOW_AFTER_HOLE = "show after hole"; // still missing after a resume

/** The place in one room's log. `position` is null until the server has said where the log stands. */
export class Place {
  constructor() {
    /** @type {Position | null} */
    this.position = null;
    /** @type {number | null} the offset after which a hole was seen once */
    this.hole = null;
  }

  /**
   * The server let us in. Who came with a place keeps it: what was missed follows.
   * @param {string} epoch
   * @param {number} top
   */
  entered(epoch, top) {
    this.position ??= { epoch, offset: top };
  }

  /**
   * Move on to the entry at `first`, or over the gap from `first` to `last`, if that is what comes next.
   * @param {string} epoch
   * @param {number} first
   * @param {number} [last]
   * @returns {string}
   */
  judge(epoch, first, last = first) {
    const known = this.position?.offset ?? first - 1;
    if (last <= known) return DROP;
    const hole = first > known + 1;
    if (hole && this.hole !== known) {
      this.hole = known;
      return RESUME;
    }
    this.moved(epoch, last);
    return hole ? SHOW_AFTER_HOLE : SHOW;
  }

  /**
   * What lies before is gone or known; delivery goes on after `offset`.
   * @param {string} epoch
   * @param {number} offset
   */
  moved(epoch, offset) {
    this.position = { epoch, offset };
    this.hole = null;
  }
}
