/** Owns the use of what comes when it is first needed: the press that asked for it waits, and is not lost. */
import { toast } from "./toasts.js";
import { t } from "./words.js";

const LATER = 3000; // ms in which the first messages have come

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
 * Have a part come before it is needed, once the page has nothing else to do; it is asked for again where that fails.
 * @param {() => Promise<unknown>} load
 */
export function loadWhenIdle(load) {
  const begin = () => void load().catch(() => {});
  const idle = typeof requestIdleCallback === "function" ? () => requestIdleCallback(begin) : begin;
  setTimeout(idle, LATER);
}
