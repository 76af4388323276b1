/** Owns light, dark, or as the system has it. */
import { byId } from "./dom.js";
import { kept } from "./storage.js";
import { t } from "./words.js";

/** @type {Record<string, string>} */
const NEXT = { auto: "light", light: "dark", dark: "auto" };
/** @type {Record<string, string>} */
const ICONS = { auto: "auto", light: "sun", dark: "moon" };
/** @type {Record<string, string>} */
const WORDS = { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };

export function startTheme() {
  let theme = kept.get("theme", "auto");
  if (!(theme in NEXT)) theme = "auto";
  const show = () => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    const button = byId("theme");
    button.setAttribute("aria-label", t(WORDS[theme]));
    button.title = t(WORDS[theme]);
    button.querySelector("use").setAttribute("href", `#i-${ICONS[theme]}`);
  };
  byId("theme").addEventListener("click", () => {
    theme = NEXT[theme];
    kept.set("theme", theme === "auto" ? undefined : theme);
    show();
  });
  // Another tab chose.
  addEventListener("storage", ({ key }) => {
    if (key !== null && !key.endsWith(".theme")) return;
    theme = kept.get("theme", "auto");
    if (!(theme in NEXT)) theme = "auto";
    show();
  });
  show();
}
