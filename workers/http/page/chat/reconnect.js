/**
 * Owns whether and when to come back after a connection ended: pure but for the random numbers it is given.
 *
 * The close code decides whether. When: after what the server asked for in `bye`, which is already spread over its
 * clients; else exponentially with full jitter, so that the clients of a server that died do not all come back in one
 * moment (AWS Architecture Blog, "Exponential Backoff and Jitter").
 */

export const LOST = 1006; // RFC 6455, 7.1.5: it ended without a close frame, or could not be made
export const POLICY = 1008; // RFC 6455, 7.4.1; also where the server says no without a close code
export const INTERNAL_ERROR = 1011;
export const UNAUTHORIZED = 4001;

// 1000 done; 1002, 1003, 1007, 1009 our own mistake; 1008 refused by policy; 4003 kicked or banned.
const FOR_GOOD = new Set([1000, 1002, 1003, 1007, 1008, 1009, 4003]);
const LATER = new Set([4004, 4009]); // too many connections; a flood
const BASE = 500; // ms: the first return is within that
const CAP = 30_000;
const LATER_AT_LEAST = 5_000;

/** @typedef {{code: number, reason: string, retryAfter?: number, answered: boolean}} End how a connection ended, ms */

/** Counts the failures in a row. */
export class ReconnectPolicy {
  /**
   * @param {() => number} random numbers from 0 to 1
   * @param {boolean} renewable whether another token can be had after 4001
   */
  constructor(random, renewable) {
    this.random = random;
    this.renewable = renewable;
    this.failures = 0;
    this.refusals = 0; // of a token, in a row
  }

  /**
   * Milliseconds to wait before the next try; null: there is none.
   * @param {End} end
   * @returns {number | null}
   */
  after(end) {
    this.failures = end.answered ? 1 : this.failures + 1;
    if (FOR_GOOD.has(end.code) || !this.isAdmissible(end)) return null;
    if (end.retryAfter) return end.retryAfter;
    const delay = this.random() * Math.min(CAP, BASE * 2 ** Math.min(this.failures - 1, 16));
    return LATER.has(end.code) ? delay + LATER_AT_LEAST : delay;
  }

  /**
   * False once a token was refused and there is no other, or the fresh one was no better.
   * @param {End} end
   */
  isAdmissible(end) {
    if (end.answered) this.refusals = 0;
    if (end.code !== UNAUTHORIZED) return true;
    this.refusals += 1;
    return this.renewable && (end.answered || this.refusals === 1);
  }
}
