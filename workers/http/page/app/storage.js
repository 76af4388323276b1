/**
 * Owns what the browser keeps: JSON values that may be missing, broken or of another type than the page writes, without
 * harm. Where the browser keeps nothing, or has no space left, a value lasts as long as the page.
 */

const PREFIX = "chatmaster.";

/** Values under names; `area` gives the storage, which the browser may refuse. */
class Kept {
  /** @param {() => Storage} area */
  constructor(area) {
    this.area = area;
    /** @type {Map<string, any>} what the browser did not take */
    this.refused = new Map();
  }

  /**
   * @param {string} name
   * @param {any} [otherwise] also where the value is not of its type
   */
  get(name, otherwise) {
    if (this.refused.has(name)) return this.refused.get(name) ?? otherwise;
    try {
      const value = JSON.parse(this.area().getItem(PREFIX + name) ?? "null") ?? otherwise;
      return otherwise === undefined || kindOf(value) === kindOf(otherwise) ? value : otherwise;
    } catch {
      return otherwise;
    }
  }

  /**
   * Undefined, null and "" remove it.
   * @param {string} name
   * @param {unknown} value
   */
  set(name, value) {
    this.refused.delete(name);
    try {
      if (value === undefined || value === null || value === "") this.area().removeItem(PREFIX + name);
      else this.area().setItem(PREFIX + name, JSON.stringify(value));
    } catch {
      this.refused.set(name, value);
    }
  }
}

/** @param {any} value */
const kindOf = (value) => (Array.isArray(value) ? "list" : typeof value);

/** For this browser. */
export const kept = new Kept(() => localStorage);

/** For this tab, over reloads. */
export const keptInTab = new Kept(() => sessionStorage);

/** localStorage for the client, where there is one. */
export function browserStorage() {
  try {
    return localStorage;
  } catch {
    return undefined;
  }
}

const LOOKS = ["theme", "language", "people", "notify", "sound"]; // of the browser, whoever uses it

/** Remove all that is kept of a person, in this tab and for this browser. */
export function forgetPerson() {
  for (const { refused } of [kept, keptInTab]) refused.clear();
  try {
    for (const area of [sessionStorage, localStorage])
      for (const key of Object.keys(area))
        if (key.startsWith(PREFIX) && !LOOKS.includes(key.slice(PREFIX.length))) area.removeItem(key);
  } catch {
    // Nothing is kept where nothing may be.
  }
}
