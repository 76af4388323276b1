/** Owns which emoji a person means by what they type. Pure. */
/** @import { Emoji } from "./emoji.js" */

const MOST_FOUND = 120;

/**
 * Those that a person may mean, the best first: by code, by name, by keyword; the beginning of a word is enough.
 * @param {Emoji[]} all
 * @param {string} asked
 * @param {number} [most]
 */
export function findEmoji(all, asked, most = MOST_FOUND) {
  const wanted = asked.trim().toLowerCase().replace(/^:|:$/g, "");
  const asCode = wanted.replace(/[\s-]+/g, "_");
  const words = wanted.split(/[\s_]+/).filter(Boolean);
  const starts = (/** @type {string[]} */ names, /** @type {string} */ word) =>
    names.some((name) => name.startsWith(word));
  const rank = (/** @type {Emoji} */ one) => {
    if (one.character === wanted || one.codes.includes(asCode)) return 0;
    if (starts(one.codes, asCode)) return 1;
    const names = one.name.toLowerCase().split(/[\s:,-]+/);
    if (words.every((word) => starts(names, word))) return 2;
    return words.every((word) => starts(names, word) || starts(one.words, word)) ? 3 : 4;
  };
  const ranked = all.map((one) => ({ one, rank: rank(one) })).filter((found) => found.rank < 4);
  return ranked
    .sort((a, b) => a.rank - b.rank)
    .slice(0, most)
    .map(({ one }) => one);
}
