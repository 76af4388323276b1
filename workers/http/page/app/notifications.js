/** Owns the questions about notifications: of the whole page, and of one conversation. */
/** @import { Conversation } from "./conversation.js" */
/** @import { App } from "./main.js" */
import { choiceField, openDialog } from "./dialogs.js";
import { FOREVER, levelOf, QUIET, quietText, quietUntil, setLevel } from "./levels.js";
import { reasonOf } from "./outbox.js";
import { playSound } from "./sound.js";
import { kept } from "./storage.js";
import { t } from "./words.js";

const HOUR = 3_600_000; // ms
const MORNING = 8; // o'clock

/** @param {App} app */
export function openNotifications({ attention }) {
  /** @type {[string, string][]} */
  const yesOrNo = [
    ["on", t("On")],
    ["off", t("Off")],
  ];
  const was = attention.wanted ? "on" : "off";
  const [noteField, note] = choiceField(t("Notifications of the browser"), yesOrNo, was);
  const [soundField, sound] = choiceField(t("Sound"), yesOrNo, kept.get("sound", false) ? "on" : "off");
  const [quietField, quiet] = choiceField(t("Do not disturb"), quietChoices(), quietUntil() ? "unchanged" : "0");
  sound.addEventListener("change", () => sound.value === "on" && playSound());
  const submit = async () => {
    kept.set("sound", sound.value === "on");
    if (quiet.value !== "unchanged") kept.set(QUIET, Number(quiet.value) || null);
    if (note.value !== was && (note.value === "off" || (await attention.allowed())))
      kept.set("notify", note.value === "on");
    attention.show();
    attention.pushSoon();
  };
  openDialog({
    title: t("Notifications"),
    text: t("Of mentions and direct messages; the menu of a conversation has more, or less."),
    fields: [noteField, soundField, quietField],
    action: t("Save"),
    submit,
    reason: reasonOf,
  });
}

/** @returns {[string, string][]} */
function quietChoices() {
  const now = Date.now();
  const morning = new Date(now);
  morning.setHours(MORNING, 0, 0, 0);
  if (morning.getTime() <= now + HOUR) morning.setDate(morning.getDate() + 1);
  /** @type {[string, string][]} */
  const unchanged = quietUntil() ? [["unchanged", quietText()]] : [];
  return [
    ["0", t("Off")],
    ...unchanged,
    [String(now + HOUR), t("For an hour")],
    [String(morning.getTime()), t("Until the morning")],
    [String(FOREVER), t("Until I turn it off")],
  ];
}

/**
 * @param {App} app
 * @param {Conversation} conversation
 */
export function openLevel({ attention, model }, conversation) {
  /** @type {[string, string][]} */
  const choices = [
    ["all", t("All messages")],
    ...(conversation.direct ? [] : /** @type {[string, string][]} */ ([["mentions", t("Only mentions of me")]])),
    ["none", t("Nothing")],
  ];
  const [field, level] = choiceField(t("Tell me of"), choices, levelOf(conversation));
  const submit = () => {
    setLevel(conversation, level.value);
    attention.title();
    attention.pushSoon();
  };
  openDialog({
    title: t("Notifications: {conversation}", { conversation: model.titleOf(conversation) }),
    fields: [field],
    action: t("Save"),
    submit,
    reason: reasonOf,
  });
}
