/**
 * Owns what the marks in a text mean: fenced code, quotes and lists by lines; bold, italic and strike within a line. Pure,
 * and one pass over the text: each mark is looked at once, whatever is written.
 *
 * A mark that closes nothing is a letter like any other. Links, mentions and code come as tokens and are not looked into.
 */

// Three backquotes around lines, which may name a language first.
const FENCE = /\n?```(?:([\w+#-]*)\n)?([\s\S]+?)\n?```\n?/gu;
const QUOTE = /^> ?/;
const BULLET = /^ {0,3}[-*+] +(?=\S)/;
const NUMBER = /^ {0,3}(\d{1,9})[.)] +(?=\S)/;
const CONTINUED = /^ {2,}(?=\S)/;
const RUN = /\*+|_+|~+/g;
/** @type {Record<string, Emphasis[]>} */
const MEANING = { "*": ["em"], _: ["em"], "**": ["strong"], "***": ["strong", "em"], "~~": ["s"] };
const SPACE = /^\s?$/u; // or nothing
// Between two of these a single * or _ is a letter: 5*3*2, some_long_name. Scripts without spaces have no such words.
const WORD = /[\p{L}\p{N}_]/u;
const WITHOUT_SPACES =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}]/u;

/** @typedef {"em" | "strong" | "s"} Emphasis */
/**
 * @typedef {{type: "code", text: string, language: string} | {type: "text", text: string} | {type: "quote", text: string}
 *   | {type: "list", start: number | null, items: string[]}} Block `start`: of a numbered list
 */
/** @typedef {{type: string, text: string}} Token */
/** @typedef {Token | {type: "emphasis", as: Emphasis, children: Inline[]}} Inline */

/**
 * The parts of a text, one below the other.
 * @param {string} text
 * @returns {Block[]}
 */
export function blocksOf(text) {
  /** @type {Block[]} */
  const found = [];
  let end = 0;
  for (const match of text.matchAll(FENCE)) {
    found.push(...lineBlocks(text.slice(end, match.index)));
    found.push({ type: "code", text: match[2], language: match[1] ?? "" });
    end = match.index + match[0].length;
  }
  return [...found, ...lineBlocks(text.slice(end))];
}

/**
 * @param {string} text without fenced code
 * @returns {Block[]}
 */
function lineBlocks(text) {
  if (!text) return [];
  const lines = text.split("\n");
  /** @type {Block[]} */
  const found = [];
  for (let at = 0; at < lines.length; ) {
    const from = at;
    const take = (/** @type {(line: string) => boolean} */ fits) => {
      while (at < lines.length && fits(lines[at])) at += 1;
      return lines.slice(from, at);
    };
    if (QUOTE.test(lines[at])) {
      const quoted = take((line) => QUOTE.test(line)).map((line) => line.replace(QUOTE, ""));
      found.push({ type: "quote", text: quoted.join("\n") });
    } else if (BULLET.test(lines[at])) {
      found.push({ type: "list", start: null, items: items(take(inList(BULLET)), BULLET) });
    } else if (NUMBER.test(lines[at])) {
      const start = Number(NUMBER.exec(lines[at])?.[1]);
      found.push({ type: "list", start, items: items(take(inList(NUMBER)), NUMBER) });
    } else {
      const plain = take((line) => !QUOTE.test(line) && !BULLET.test(line) && !NUMBER.test(line));
      found.push({ type: "text", text: plain.join("\n") });
    }
  }
  return found;
}

/** @param {RegExp} mark */
const inList = (mark) => (/** @type {string} */ line) => mark.test(line) || CONTINUED.test(line);

/**
 * @param {string[]} lines
 * @param {RegExp} mark
 */
function items(lines, mark) {
  /** @type {string[][]} */
  const found = [];
  for (const line of lines) {
    if (mark.test(line)) found.push([line.replace(mark, "")]);
    else found.at(-1)?.push(line.trimStart());
  }
  return found.map((one) => one.join("\n"));
}

/**
 * Tokens with what is emphasised among them.
 * @param {Token[]} tokens
 * @returns {Inline[]}
 */
export function emphasised(tokens) {
  /** @type {Inline[]} */
  const parts = [];
  /** @type {{run: string, place: number}[]} runs that may still be closed */
  const open = [];
  for (const token of tokens) {
    if (token.type !== "text") parts.push(token);
    else for (const piece of pieces(token.text, parts.length > 0)) put(piece, parts, open);
  }
  return merged(parts);
}

/**
 * @typedef {{text: string, opens: boolean, closes: boolean, ends: boolean}} Piece `ends`: a line, and what is open in it
 */

/**
 * A text in its runs of marks and what is between.
 * @param {string} text
 * @param {boolean} follows whether something stands before it
 * @returns {Piece[]}
 */
function pieces(text, follows) {
  /** @type {Piece[]} */
  const found = [];
  const plain = (/** @type {string} */ words) => {
    if (words) found.push({ text: words, opens: false, closes: false, ends: words.includes("\n") });
  };
  let end = 0;
  for (const match of text.matchAll(RUN)) {
    const run = match[0];
    if (!(run in MEANING)) continue;
    const before = match.index ? text.slice(Math.max(0, match.index - 2), match.index).slice(-1) : follows ? "@" : "";
    const after = text.slice(match.index + run.length, match.index + run.length + 1) || "@";
    const inWord = run.length === 1 && isWord(before) && isWord(after);
    plain(text.slice(end, match.index));
    found.push({
      text: run,
      opens: !SPACE.test(after) && !inWord && !(run.length === 1 && isWord(before)),
      closes: !SPACE.test(before) && !inWord && !(run.length === 1 && isWord(after)),
      ends: false,
    });
    end = match.index + run.length;
  }
  plain(text.slice(end));
  return found;
}

/** @param {string} character */
const isWord = (character) => WORD.test(character) && !WITHOUT_SPACES.test(character);

/**
 * @param {Piece} piece
 * @param {Inline[]} parts
 * @param {{run: string, place: number}[]} open
 */
function put({ text, opens, closes, ends }, parts, open) {
  const at = closes ? open.findLastIndex(({ run }) => run === text) : -1;
  if (at >= 0 && open[at].place < parts.length - 1) {
    const children = merged(parts.splice(open[at].place).slice(1));
    open.length = at;
    parts.push(MEANING[text].reduceRight((/** @type {Inline[]} */ inner, as) => [wrapped(as, inner)], children)[0]);
    return;
  }
  if (ends) open.length = 0;
  if (opens && !open.some(({ run }) => run === text)) open.push({ run: text, place: parts.length });
  parts.push({ type: "text", text });
}

/**
 * @param {Emphasis} as
 * @param {Inline[]} children
 * @returns {Inline}
 */
const wrapped = (as, children) => ({ type: "emphasis", as, children });

/**
 * Texts beside each other become one.
 * @param {Inline[]} parts
 * @returns {Inline[]}
 */
function merged(parts) {
  /** @type {Inline[]} */
  const found = [];
  for (const part of parts) {
    const last = found.at(-1);
    if (part.type === "text" && last?.type === "text")
      found[found.length - 1] = {
        type: "text",
        text: /** @type {Token} */ (last).text + /** @type {Token} */ (part).text,
      };
    else found.push(part);
  }
  return found;
}
