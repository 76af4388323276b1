/** Owns a moderator's dialog. */
/** @import { App } from "./main.js" */
import { checkLength, choiceField, openDialog, textField } from "./dialogs.js";
import { el } from "./dom.js";
import { reasonOf } from "./outbox.js";
import { t } from "./words.js";

const LONGEST_USER = 64;
const LONGEST_REASON = 256;

/** @typedef {"mute" | "kick" | "ban" | "unmute" | "unban"} Verb */

/** @type {[Verb, string][]} */
const VERBS = [
  ["mute", "Mute: they may read, not write"],
  ["kick", "Kick: put them out once"],
  ["ban", "Ban: keep them out"],
  ["unmute", "Unmute"],
  ["unban", "Unban"],
];
/** @type {[string, string][]} */
const TIMES = [
  ["600", "10 minutes"],
  ["3600", "1 hour"],
  ["86400", "1 day"],
  ["604800", "1 week"],
  ["", "For ever"],
];

/** @type {Record<string, string>} */
const ACTIONS = { mute: "Mute", kick: "Kick", ban: "Ban", unmute: "Unmute", unban: "Unban" };

/**
 * @param {[string, string][]} choices
 * @returns {[string, string][]}
 */
const translated = (choices) => choices.map(([value, text]) => [value, t(text)]);

/**
 * Decide about a user, in this room or everywhere.
 * @param {App} app
 * @param {string} [user]
 */
export function openModeration(app, user = "") {
  const { model } = app;
  const room = model.current && !model.current.direct ? model.current.id : "";
  const [userField, userInput] = textField(t("User id"), { value: user, required: true });
  const [verbField, verb] = choiceField(t("What to do"), translated(VERBS), "mute");
  /** @type {[string, string][]} */
  const places = [["", t("Everywhere")]];
  if (room) places.unshift([room, t("In #{room}", { room })]);
  const [placeField, place] = choiceField(t("Where"), places, room);
  const [timeField, time] = choiceField(t("For how long"), translated(TIMES), "600");
  const [reasonField, reason] = textField(t("Reason, which the person is told"));
  const widely = el("p", {
    class: "hint",
    text: t("A guest’s ban or mute holds for every guest of the same address."),
  });
  const show = () => {
    timeField.hidden = !["mute", "ban"].includes(verb.value);
    widely.hidden = timeField.hidden || !userInput.value.trim().startsWith("guest:");
  };
  for (const field of [verb, userInput]) field.addEventListener("input", show);
  show();
  const submit = async () => {
    checkLength(userInput.value.trim(), LONGEST_USER);
    checkLength(reason.value, LONGEST_REASON);
    const timed = ["mute", "ban"].includes(verb.value) && time.value;
    const sanction = {
      room: place.value || undefined,
      seconds: timed ? Number(time.value) : undefined,
      reason: reason.value || undefined,
    };
    await app.chat[/** @type {Verb} */ (verb.value)](userInput.value.trim(), sanction);
    app.toast(t("Done: {what}", { what: `${t(ACTIONS[verb.value])}, ${model.nameOf(userInput.value.trim())}` }));
  };
  const title = user ? t("Moderate {name}", { name: model.nameOf(user) }) : t("Moderate");
  const confirm = openDialog({
    title,
    text: user && t("User id: {user}", { user }),
    fields: [!user && userField, verbField, placeField, timeField, widely, reasonField].filter(Boolean),
    action: t("Mute"),
    danger: true,
    submit,
    reason: reasonOf,
  });
  verb.addEventListener("change", () => {
    confirm.textContent = t(ACTIONS[verb.value]);
    confirm.classList.toggle("danger", !verb.value.startsWith("un"));
  });
}
