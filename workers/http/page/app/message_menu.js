/** Owns the menu of a message; on a phone it is a sheet, with what one reacts with most at its head. */
/** @import { Message } from "./conversation.js" */
/** @import { Tools } from "./tools.js" */
import { el, iconButton } from "./dom.js";
import { closeAround, openMenu, SHEET } from "./popup.js";
import { QUICK, quick } from "./tools.js";
import { t } from "./words.js";

/**
 * @param {Tools} tools
 * @param {HTMLElement} anchor
 * @param {Message} message
 */
export function openMessageMenu(tools, anchor, message) {
  const place = anchor.isConnected ? anchor : (tools.on ?? document.body);
  const head = tools.rights(message).react && SHEET.matches ? reactionRow(tools, place, message) : undefined;
  openMenu(place, message.from.name, messageItems(tools, place, message), head);
}

/**
 * @param {Tools} tools
 * @param {HTMLElement} anchor
 * @param {Message} message
 */
function messageItems(tools, anchor, message) {
  const rights = tools.rights(message);
  const { app } = tools;
  const mine = message.from.user === app.model.me;
  /** @type {any[]} */
  const items = [
    rights.reply && { icon: "reply", text: t("Reply"), act: () => app.composer.reply(message) },
    rights.edit && { icon: "edit", text: t("Edit"), act: () => app.composer.edit(message) },
    message.text !== undefined && { icon: "copy", text: t("Copy text"), act: () => app.copy(message.text ?? "") },
    !app.model.shown.direct && {
      icon: "link",
      text: t("Copy a link to this message"),
      act: () => app.copyLink(app.model.shown.id, message.offset),
    },
    rights.remove && {
      icon: "trash",
      text: mine ? t("Delete") : t("Delete as moderator"),
      danger: true,
      act: () => app.remove(app.model.shown, message),
    },
    !mine && null,
    !mine && {
      icon: "people",
      text: t("About {name}", { name: message.from.name }),
      act: () => app.openPerson(anchor.isConnected ? anchor : tools.on, message.from),
    },
  ];
  return items.filter((item) => item !== false);
}

/**
 * What one reacts with most: under a finger there is no bar.
 * @param {Tools} tools
 * @param {HTMLElement} anchor
 * @param {Message} message
 */
function reactionRow(tools, anchor, message) {
  const { app } = tools;
  const act = (/** @type {() => void} */ work) => (/** @type {Event} */ event) => {
    closeAround(/** @type {HTMLElement} */ (event.currentTarget));
    work();
  };
  const chips = QUICK.map((emoji) =>
    quick(
      emoji,
      act(() => app.react(app.model.shown, message, emoji)),
      "menuitem",
    ),
  );
  const more = iconButton(
    "smile",
    t("React"),
    act(() => tools.pick(anchor, message)),
    { role: "menuitem", tabindex: "-1" },
  );
  return el("div", { class: "menu-reactions", role: "group", "aria-label": t("Reactions") }, ...chips, more);
}
