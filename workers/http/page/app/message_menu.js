/** Owns the menu of a message; on a phone it is a sheet, with what one reacts with most at its head. */
/** @import { Message } from "./conversation.js" */
/** @import { Model } from "./model.js" */
/** @import { Tools } from "./tools.js" */
import { bdi, el, iconButton, insertText } from "./dom.js";
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
  const facts = knownOf(tools.app.model, message);
  const title = [message.from.name, ...facts].join(", ");
  openMenu(place, title, messageItems(tools, place, message), withFacts(head, message.from.name, facts));
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
    rights.reply &&
      message.text && { icon: "quote", text: t("Quote"), act: () => quoteIn(app.composer.text, message.text ?? "") },
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
 * Put somebody's words into what one writes.
 * @param {HTMLTextAreaElement} box
 * @param {string} words
 */
function quoteIn(box, words) {
  box.focus();
  const lines = words.split("\n").map((line) => `> ${line}\n`);
  const isInLine = /[^\n]$/.test(box.value.slice(0, box.selectionStart));
  insertText(box, `${isInLine ? "\n" : ""}${lines.join("")}`);
}

/**
 * Who reacted, and who has read so far: what a pointer reads off a title.
 * @param {Model} model
 * @param {Message} message
 */
function knownOf(model, message) {
  const named = (/** @type {Iterable<string>} */ users) =>
    [...users].map((user) => (user === model.me ? t("you") : model.nameOf(user))).join(", ");
  const { readers } = model.shown;
  const readBy = [...readers.keys()].filter(
    (user) => user !== message.from.user && (readers.get(user) ?? 0) >= message.offset,
  );
  const reactions = [...message.reactions].map(([emoji, users]) => `${emoji} ${named(users)}`);
  return readBy.length ? [...reactions, t("Read by {names}", { names: named(readBy) })] : reactions;
}

/**
 * @param {HTMLElement | undefined} head
 * @param {string} name
 * @param {string[]} facts
 */
function withFacts(head, name, facts) {
  if (!facts.length) return head;
  const lines = facts.map((text) => el("span", { class: "hint", dir: "auto", text }));
  const about = el("div", { class: "menu-title menu-facts", "aria-hidden": "true" }, bdi(name), ...lines);
  return head ? el("div", {}, about, head) : about;
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
