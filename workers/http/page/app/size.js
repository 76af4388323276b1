/**
 * Owns how long a text may be, said before it is sent: `limits.message_size` of the welcome holds for the bytes of the text
 * in UTF-8, however JSON escapes it. A room may allow less, which the server then says. Pure.
 */
import { t } from "./words.js";

/**
 * A sentence where the text is longer than the server takes; "" where it is not.
 * @param {string} text
 * @param {{message_size: number}} limits
 */
export function tooLong(text, { message_size: most }) {
  const size = new TextEncoder().encode(text).length;
  return size > most ? t("This is too long: {size} bytes, and {most} are allowed", { size, most }) : "";
}
