/** Owns a moderator's list of the bans and mutes that hold, each of which can be lifted there. */
/** @import { App } from "./main.js" */
/** @import { Sanctioned } from "../chat/verbs.js" */
import { bdi, el } from "./dom.js";
import { reasonOf } from "./outbox.js";
import { wholeTime } from "./time.js";
import { t } from "./words.js";

/** @type {Record<string, string>} */
const SANCTION_KINDS = { ban: "Ban", mute: "Mute" };

/**
 * Show the bans and mutes of everywhere, or of this room to who moderates only rooms.
 * @param {App} app
 */
export async function openSanctions(app) {
  const list = el("ul", { class: "sanctions" });
  const note = el("p", { class: "hint", role: "status", text: t("Loading…") });
  const heading = el("h2", { id: "sanctions-title", text: t("Bans and mutes") });
  const close = el("button", {
    type: "button",
    class: "button",
    text: t("Close"),
    on: { click: () => dialog.close() },
  });
  const buttons = el("div", { class: "buttons" }, close);
  const dialog = el("dialog", { "aria-labelledby": "sanctions-title" }, heading, note, list, buttons);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (/** @type {MouseEvent} */ event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  const tell = () => (note.textContent = list.childElementCount ? "" : t("Nobody is banned or muted"));
  try {
    const { sanctions, count } = await sanctionsHeld(app);
    list.append(...sanctions.map((one) => sanctionRow(app, one, note, tell)));
    tell();
    if (count > sanctions.length) note.textContent = t("And {count} more", { count: count - sanctions.length });
  } catch (error) {
    note.textContent = reasonOf(error);
  }
}

/** @param {App} app */
async function sanctionsHeld({ chat, model }) {
  const room = model.current && !model.current.direct ? model.current.id : "";
  try {
    return await chat.sanctions();
  } catch (/** @type {any} */ error) {
    if (error.code !== "forbidden" || !room) throw error;
    return chat.sanctions(room);
  }
}

/**
 * @param {App} app
 * @param {Sanctioned} one
 * @param {HTMLElement} note where it is told that it could not be lifted
 * @param {() => void} lifted
 */
function sanctionRow({ chat, model }, one, note, lifted) {
  const { kind, user, by, room, until, reason, address } = one;
  const name = model.nameOf(user);
  const facts = [
    t(SANCTION_KINDS[kind]),
    room ? t("In #{room}", { room }) : t("Everywhere"),
    until ? t("until {time}", { time: wholeTime(until) }) : t("For ever"),
    t("by {name}", { name: model.nameOf(by) }),
    reason,
    address && t("for every guest of the same address"),
  ];
  const lift = async () => {
    button.disabled = true;
    try {
      await (kind === "ban" ? chat.unban(user, { room }) : chat.unmute(user, { room }));
      row.remove();
      lifted();
    } catch (error) {
      note.textContent = reasonOf(error);
      button.disabled = false;
    }
  };
  const label = t("Lift: {what}, {name}", { what: t(SANCTION_KINDS[kind]), name });
  const button = el("button", {
    type: "button",
    class: "button",
    text: t("Lift"),
    "aria-label": label,
    on: { click: lift },
  });
  const text = el("span", { class: "hint", dir: "auto", text: facts.filter(Boolean).join(" · ") });
  const row = el("li", { title: user }, el("div", {}, bdi(name), text), button);
  return row;
}
