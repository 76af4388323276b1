/**
 * Owns the colours of people: twelve hues, each dark or light. A person's id says which, so that each has the same one
 * wherever they are seen; where somebody else on this page has it, the next free one is taken. Pure but for who came.
 */

const HUES = 12;
const PLACES = HUES * 2;
const STRIDE = 7; // has no factor in common with PLACES: neighbours in the order are far apart in colour

/** @typedef {{hue: number, light: boolean}} Colour hue in degrees */

/** Colours for one page. */
export class Colours {
  constructor() {
    /** @type {Map<string, number>} */
    this.places = new Map();
    /** @type {Set<number>} */
    this.taken = new Set();
  }

  /**
   * @param {string} user
   * @returns {Colour}
   */
  of(user) {
    let place = this.places.get(user);
    if (place === undefined) {
      place = this.free(fnv1a(user) % PLACES);
      this.places.set(user, place);
      this.taken.add(place);
    }
    return { hue: (place >> 1) * (360 / HUES), light: place % 2 === 1 };
  }

  /** @param {number} wanted */
  free(wanted) {
    if (this.taken.size === PLACES) this.taken.clear(); // from here on each colour is there twice
    let place = wanted;
    while (this.taken.has(place)) place = (place + STRIDE) % PLACES;
    return place;
  }
}

/**
 * FNV-1a, mixed: short ids that differ little lie far from each other.
 * @param {string} user
 */
function fnv1a(user) {
  let hash = 2_166_136_261;
  for (const character of user) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 16_777_619);
  hash = Math.imul(hash ^ (hash >>> 15), 2_246_822_519);
  return (hash ^ (hash >>> 13)) >>> 0;
}

const ofThisPage = new Colours();

/** @param {string} user */
export const colourOf = (user) => ofThisPage.of(user);
