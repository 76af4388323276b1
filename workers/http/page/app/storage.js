/** Owns what the browser keeps: JSON values that may be missing, broken or forbidden without harm. */

const PREFIX = "chatmaster.";

/** Values under names; `area` gives the storage, which the browser may refuse. */
class Kept {
  /** @param {() => Storage} area */
  constructor(area) {
    this.area = area;
  }

  /**
   * @param {string} name
   * @param {any} [otherwise]
   */
  get(name, otherwise) {
    try {
      return JSON.parse(this.area().getItem(PREFIX + name) ?? "null") ?? otherwise;
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
    try {
      if (value === undefined || value === null || value === "") this.area().removeItem(PREFIX + name);
      else this.area().setItem(PREFIX + name, JSON.stringify(value));
    } catch {
      // Full or forbidden: the page works without.
    }
  }
}

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
  try {
    for (const area of [sessionStorage, localStorage])
      for (const key of Object.keys(area))
        if (key.startsWith(PREFIX) && !LOOKS.includes(key.slice(PREFIX.length))) area.removeItem(key);
  } catch {
    // Nothing is kept where nothing may be.
  }
}
