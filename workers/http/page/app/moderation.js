/** Owns a moderator's dialog, and what a person is told of what moderators do. */
/** @import { App } from "./main.js" */
/** @import { Muted } from "../chat/wire.js" */
import { choiceField, openDialog, textField } from "./dialogs.js";
import { reasonOf } from "./outbox.js";
import { wholeTime } from "./time.js";

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

/**
 * What somebody reads who is muted, or may speak again.
 * @param {Muted} told
 */
export function mutedText({ type, room, until, reason }) {
  const where = room ? ` in #${room}` : "";
  if (type === "unmuted") return `You may write${where} again`;
  return `You are muted${where}${until ? ` until ${wholeTime(until)}` : ""}${reason ? `: ${reason}` : ""}`;
}

/**
 * Decide about a user, in this room or everywhere.
 * @param {App} app
 * @param {string} [user]
 */
export function openModeration(app, user = "") {
  const { model } = app;
  const room = model.current && !model.current.direct ? model.current.id : "";
  const [userField, userInput] = textField("User id", { value: user, required: true, maxlength: 63 });
  const [verbField, verb] = choiceField("What to do", VERBS, "mute");
  /** @type {[string, string][]} */
  const places = [["", "Everywhere"]];
  if (room) places.unshift([room, `In #${room}`]);
  const [placeField, place] = choiceField("Where", places, room);
  const [timeField, time] = choiceField("For how long", TIMES, "600");
  const [reasonField, reason] = textField("Reason, which the person is told", { maxlength: 256 });
  const show = () => (timeField.hidden = !["mute", "ban"].includes(verb.value));
  verb.addEventListener("change", show);
  show();
  const submit = async () => {
    const timed = ["mute", "ban"].includes(verb.value) && time.value;
    const sanction = {
      room: place.value || undefined,
      seconds: timed ? Number(time.value) : undefined,
      reason: reason.value || undefined,
    };
    await app.chat[/** @type {Verb} */ (verb.value)](userInput.value.trim(), sanction);
    app.toast(`Done: ${verb.value} ${model.nameOf(userInput.value.trim())}`);
  };
  const title = user ? `Moderate ${model.nameOf(user)}` : "Moderate";
  const confirm = openDialog({
    title,
    text: user && `User id: ${user}`,
    fields: [!user && userField, verbField, placeField, timeField, reasonField].filter(Boolean),
    action: "Mute",
    danger: true,
    submit,
    reason: reasonOf,
  });
  verb.addEventListener("change", () => {
    confirm.textContent = `${verb.value[0].toUpperCase()}${verb.value.slice(1)}`;
    confirm.classList.toggle("danger", !verb.value.startsWith("un"));
  });
}
