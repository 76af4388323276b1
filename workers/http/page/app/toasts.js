/** Owns short notices at the foot of the page. They stay long enough to be read, and while they are pointed at. */
import { byId, el, iconButton } from "./dom.js";
import { t } from "./words.js";

const SHOWN_FOR = 7000; // ms
const AT_ONCE = 3;

/** @param {string} text */
export function toast(text) {
  const place = byId("toasts");
  const note = el("div", { class: "toast", role: "alert" }, el("span", { text, dir: "auto" }));
  const dismiss = () => note.remove();
  note.append(iconButton("close", t("Dismiss"), dismiss));
  let timer = setTimeout(dismiss, SHOWN_FOR);
  note.addEventListener("pointerenter", () => clearTimeout(timer));
  note.addEventListener("pointerleave", () => (timer = setTimeout(dismiss, SHOWN_FOR / 2)));
  while (place.childElementCount >= AT_ONCE) place.firstElementChild.remove();
  place.append(note);
}
