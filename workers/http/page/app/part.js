/** Owns the use of what comes when it is first needed: the press that asked for it waits, and is not lost. */
import { toast } from "./toasts.js";
import { t } from "./words.js";

const LATER = 3000; // ms in which the first messages have come

/** @type {Map<string, number>} how often an address failed */
const triesOf = new Map();

/**
 * @template Part
 * @param {Promise<Part>} coming
 * @param {(part: Part) => void} use
 */
export async function usePart(coming, use) {
  try {
    const part = await coming;
    use(part);
  } catch (error) {
    if (navigator.onLine) console.warn(error);
    toast(t("A part of the page could not be loaded. Try again, or load the page anew"));
  }
}

/**
 * A script beside the page. A browser remembers an address that failed, so the next try has one of its own.
 * @param {string} address
 * @returns {Promise<any>}
 */
export async function importBeside(address) {
  const tries = triesOf.get(address) ?? 0;
  try {
    return await import(address + (tries ? `?${tries}` : ""));
  } catch (error) {
    triesOf.set(address, tries + 1);
    throw error;
  }
}

/**
 * Have a part come before it is needed, once the page has nothing else to do; where it fails, the next use asks again.
 * @param {() => unknown} load
 */
export function loadWhenIdle(load) {
  const begin = async () => {
    try {
      await load();
    } catch {}
  };
  const idle = typeof requestIdleCallback === "function" ? () => requestIdleCallback(begin) : begin;
  setTimeout(idle, LATER);
}
