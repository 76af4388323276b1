/** Owns how long a text may be: what the server measures, before it is sent. Pure. */

const REQUEST = 512; // bytes of a request beside its text: its type, room, key and the like

const bytesOf = (text) => new TextEncoder().encode(text).length;

/**
 * A sentence where the text is longer than the server takes; "" where it is not.
 * `limits.text` is for the text itself. Where the server names none, the whole request has to fit into a frame of
 * `limits.message_size`, in which JSON writes a quotation mark as two bytes and a control character as six.
 * @param {string} text
 * @param {{text?: number, message_size: number}} limits
 */
export function tooLong(text, limits) {
  const most = limits.text ?? limits.message_size - REQUEST;
  const size = limits.text === undefined ? bytesOf(JSON.stringify(text)) : bytesOf(text);
  return size > most ? `This is too long: ${size} bytes, and ${most} are allowed` : "";
}
