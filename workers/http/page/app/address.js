/**
 * Owns what the page's address says behind its `#`: a conversation, and the offset of a message in it where one is meant,
 * as `#lobby` or `#lobby/17`.
 */

export const ROOM_NAME = /^[\p{L}\p{M}\p{N}_.:-]{1,64}$/u; // in NFC; the server has the last word

const NOWHERE = { id: "", offset: null };
const SOMEBODY = /^@[^/\s]{1,64}$/u;

/**
 * @param {string} hash with its #
 * @returns {{id: string, offset: number | null}} with the id "" where that is no place
 */
export function placeIn(hash) {
  let words;
  try {
    words = decodeURIComponent(hash.slice(1)).normalize("NFC"); // as names are kept
  } catch {
    return NOWHERE;
  }
  const [, id = words, digits] = /^(.*)\/([0-9]{1,15})$/.exec(words) ?? [];
  return ROOM_NAME.test(id) || SOMEBODY.test(id) ? { id, offset: digits ? Number(digits) : null } : NOWHERE;
}

/**
 * @param {string} id of a conversation
 * @param {number | null} [offset]
 */
export function hashOf(id, offset = null) {
  return `#${encodeURIComponent(id)}${offset === null ? "" : `/${offset}`}`;
}
