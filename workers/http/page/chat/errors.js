/** Owns what a request fails with. */

/**
 * A request came to nothing, or nobody knows. `code` is one of the protocol's error codes, or the client's own:
 * `outcome_unknown` (no answer in time), `ended` (the client was closed), `queue_full` (too many wait already). `too_large` may
 * also come from the client, which then sent nothing.
 */
export class ChatError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {string} [field] the field of the request that is to blame
   */
  constructor(code, message, field) {
    super(message);
    this.name = "ChatError";
    this.code = code;
    this.field = field;
  }
}
