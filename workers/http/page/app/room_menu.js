/** Owns the menu of a conversation: what one can do about a room, or about direct messages. */
/** @import { Conversation } from "./conversation.js" */
/** @import { App } from "./main.js" */
import { openMenu } from "./popup.js";
import { t } from "./words.js";

/**
 * @param {App} app
 * @param {HTMLElement} anchor
 * @param {Conversation} conversation
 */
export function openRoomMenu(app, anchor, conversation) {
  const { model } = app;
  const { id, direct, joined, peer } = conversation;
  const name = model.nameOf(peer);
  /** @type {any[]} */
  const items = [
    conversation.unread > 0 && { icon: "checks", text: t("Mark as read"), act: () => markRead(app, [conversation]) },
    !direct && { icon: "link", text: t("Copy a link to this room"), act: () => app.copyLink(id) },
    joined && { icon: "bell", text: t("Notifications…"), act: () => app.askNotifications(conversation) },
    model.moderates && { icon: "shield", text: t("Moderate…"), act: () => app.moderate(peer) },
    model.moderates && { icon: "shield", text: t("Bans and mutes…"), act: () => app.listSanctions() },
    !direct &&
      joined && { icon: "leave", text: t("Leave this room"), danger: true, act: () => app.leave(conversation) },
    direct && {
      icon: "people",
      text: t("About {name}", { name }),
      act: () => app.openPerson(anchor, { user: peer, name }),
    },
    direct && { icon: "copy", text: t("Copy the user's id"), act: () => app.copy(peer) },
  ];
  openMenu(anchor, model.titleOf(conversation), items.filter(Boolean));
}

/**
 * @param {App} app
 * @param {Conversation[]} [conversations] that need not be read; without them all
 */
export function markRead({ chat, model, timeline }, conversations = [...model.conversations.values()]) {
  for (const conversation of conversations) {
    for (const mark of model.readAll(conversation)) chat.read(...mark);
    if (conversation !== model.current) conversation.newAfter = null;
  }
  timeline.showJump();
}
