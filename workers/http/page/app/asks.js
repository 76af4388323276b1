/** Owns the questions for a room, for a name, and before a message is deleted. */
/** @import { Conversation, Message } from "./conversation.js" */
/** @import { App } from "./main.js" */

import { ROOM_NAME } from "./address.js";
import { checkLength, openDialog, textField } from "./dialogs.js";
import { reasonOf } from "./outbox.js";
import { kept } from "./storage.js";
import { t } from "./words.js";

const LONGEST_ROOM = 64;

/** @param {App} app */
export function askRoom(app) {
  const [field, input] = textField(t("Name of the room"), {
    required: true,
    placeholder: t("for example: garden"),
    autocapitalize: "none",
  });
  const submit = async () => {
    const room = input.value.normalize("NFC").trim().replace(/^#/, "").replace(/\s+/g, "-");
    checkLength(room, LONGEST_ROOM);
    if (!ROOM_NAME.test(room)) throw new Error(t("1 to 64 letters and digits of any script, and _ . : -"));
    await app.chat.join(room);
    app.open(room);
    app.keepRooms();
  };
  const text = t("A room begins when the first person joins it.");
  openDialog({
    title: t("Join or create a room"),
    text,
    fields: [field],
    action: t("Join"),
    submit,
    reason: reasonOf,
    done: () => app.composer.takeFocus(),
  });
}

/** @param {App} app */
export function askName(app) {
  const [field, input] = textField(t("Your name"), {
    value: app.model.name,
    required: true,
  });
  const submit = async () => {
    const name = input.value.trim();
    if (!name) throw new Error(t("A name needs at least one character that can be seen"));
    checkLength(name.normalize("NFKC"), app.model.limits.name);
    await app.chat.rename(name);
    kept.set("name", name);
    app.model.name = name;
    app.model.names.set(app.model.me, name);
    app.changed("me");
  };
  openDialog({
    title: t("What should people call you?"),
    fields: [field],
    action: t("Save"),
    submit,
    reason: reasonOf,
    done: () => app.composer.takeFocus(),
  });
  input.select();
}

/**
 * @param {App} app
 * @param {Conversation} conversation
 * @param {Message} message
 */
export function askToDelete(app, conversation, message) {
  const { offset, epoch } = message;
  const submit = () => app.chat.delete(app.model.logOf(conversation), offset, { epoch });
  openDialog({
    title: t("Delete this message?"),
    text: message.text ?? "",
    fields: [],
    action: t("Delete"),
    danger: true,
    submit,
    reason: reasonOf,
  });
}
