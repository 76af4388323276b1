/**
 * Owns how the names of rooms and users are spelled: in NFC, as the server keeps them. Pure.
 *
 * Two spellings of one name would be two rooms here and one there.
 */

/**
 * @template T
 * @param {T} name
 * @returns {T}
 */
export function spelled(name) {
  return /** @type {any} */ (typeof name === "string" ? name.normalize("NFC") : name);
}
