/** Owns the card about a person: who they are here, and what one can do. */
/** @import { App } from "./main.js" */
import { avatar, bdi, el } from "./dom.js";
import { openModeration } from "./moderation.js";
import { openMenu } from "./popup.js";
import { t } from "./words.js";

/** @type {Record<string, string>} */
const ROLES = { moderator: "Moderator", admin: "Administrator" };

/**
 * What one sees of a person, and can do about them.
 * @param {App} app
 * @param {HTMLElement} anchor
 * @param {{user: string, name: string}} person
 */
export function openPersonMenu(app, anchor, { user, name }) {
  const { model } = app;
  const mine = user === model.me;
  const inRoom = model.current && !model.current.direct && model.current.joined;
  const here = model.current?.direct && model.current.peer === user;
  /** @type {any[]} */
  const items = [
    !here && {
      icon: "send",
      text: mine ? t("Write a note to yourself") : t("Write directly"),
      act: () => app.open(`@${user}`),
    },
    !mine && inRoom && { icon: "at", text: t("Mention"), act: () => app.composer.insert(`@${model.nameOf(user)} `) },
    mine && { icon: "edit", text: t("Change your name"), act: () => app.askName() },
    { icon: "copy", text: t("Copy the user's id"), act: () => app.copy(user) },
    !mine && model.moderates && null,
    !mine &&
      model.moderates && { icon: "shield", text: t("Moderate…"), danger: true, act: () => openModeration(app, user) },
  ];
  const facts = factsOf(app, user);
  openMenu(
    anchor,
    [name, ...facts].join(", "),
    items.filter((item) => item !== false && item !== undefined),
    card(user, name, facts),
  );
}

/**
 * What is known of a person: nothing is guessed.
 * @param {App} app
 * @param {string} user
 * @returns {string[]}
 */
function factsOf({ model }, user) {
  const role = ROLES[model.roleOf(user)] && t(ROLES[model.roleOf(user)]);
  const state = user === model.me ? t("You") : model.isOnline(user) ? t("online") : "";
  const guest = user.startsWith("guest:") ? t("Guest") : "";
  return [role, guest, state].filter(Boolean);
}

/**
 * @param {string} user
 * @param {string} name
 * @param {string[]} facts
 */
function card(user, name, facts) {
  const words = el(
    "div",
    { class: "card-text" },
    bdi(name, { class: "card-name" }),
    el("span", { class: "hint", text: facts.join(" · ") }),
    el("span", { class: "hint card-id", text: user, dir: "auto" }),
  );
  return el("div", { class: "card", "aria-hidden": "true" }, avatar(user, name, "large"), words);
}
