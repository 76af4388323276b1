/** Owns the list of the keys that the page understands. */
import { el } from "./dom.js";
import { t } from "./words.js";

/** @type {[string[], string][]} */
const SHORTCUTS = [
  [["Ctrl+K"], "Find a conversation"],
  [["Alt+↑", "Alt+↓"], "The conversation above, or below"],
  [["Shift+Esc"], "Mark everything as read"],
  [["@", ":"], "Mention somebody; find an emoji"],
  [["Shift+↵"], "A new line"],
  [["↑"], "Edit your last message, in the empty box"],
  [["Shift+Tab"], "From the box to the messages"],
  [["↑", "↓"], "The message above, or below"],
  [["R", "E", "Del", "↵"], "Reply to a message, edit or delete it, open its menu"],
  [["Esc"], "Back to the box; end a reply or an edit"],
  [["Ctrl+/"], "Keyboard shortcuts"],
];

export function openShortcuts() {
  const heading = el("h2", { id: "shortcuts-title", text: t("Keyboard shortcuts") });
  const close = el("button", {
    type: "button",
    class: "button",
    text: t("Close"),
    on: { click: () => dialog.close() },
  });
  const rows = SHORTCUTS.flatMap(([keys, text]) => [
    el("dt", {}, ...keys.map((key) => el("kbd", { text: key }))),
    el("dd", { text: t(text) }),
  ]);
  const list = el("dl", { class: "shortcuts" }, ...rows);
  const dialog = el(
    "dialog",
    { "aria-labelledby": "shortcuts-title" },
    heading,
    list,
    el("div", { class: "buttons" }, close),
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (/** @type {MouseEvent} */ event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}
