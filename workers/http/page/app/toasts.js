/**
 * Owns short notices at the foot of the page. They stay long enough to be read, while they are pointed at or have the focus,
 * and none comes or goes under a press.
 */
import { byId, el, iconButton } from "./dom.js";
import { press } from "./press.js";
import { t } from "./words.js";

const SHOWN_FOR = 7000; // ms
const AT_ONCE = 3;

/** @param {string} text */
export function toast(text) {
  if (press.defers(() => toast(text))) return;
  const place = byId("toasts");
  for (const one of place.children) if (one.textContent === text) return; // one reads it now
  const note = el("div", { class: "toast", role: "alert" }, el("span", { text, dir: "auto" }));
  const dismiss = () => note.remove();
  note.append(iconButton("close", t("Dismiss"), dismiss));
  const pass = () => {
    if (note.contains(document.activeElement)) again();
    else if (!press.defers(pass)) dismiss();
  };
  let timer = setTimeout(pass, SHOWN_FOR);
  const again = () => (timer = setTimeout(pass, SHOWN_FOR / 2));
  note.addEventListener("pointerenter", () => clearTimeout(timer));
  note.addEventListener("pointerleave", again);
  while (place.childElementCount >= AT_ONCE) place.firstElementChild.remove();
  place.append(note);
}
