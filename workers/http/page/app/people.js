/** Owns the list of the people in a room, the head of the page, and the line that says who is writing. */
/** @import { Conversation } from "./conversation.js" */
/** @import { App } from "./main.js" */
/** @import { Member } from "../chat/wire.js" */
import { avatar, bdi, byId, el, onceAFrame, write } from "./dom.js";
import { KeyedList } from "./keyed.js";
import { listed, plural, t, tParts } from "./words.js";

const SHOWN = 200;
const UNKNOWN = "Nobody by this id has been seen here; what you write waits for them";

export class People {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    this.members = new KeyedList(
      byId("members"),
      ({ member, typing }) => el("li", {}, this.entry(member, typing)),
      (_, { member }, node) => app.openPerson(node, member),
      () => this.draw(),
    );
    this.draw = onceAFrame(() => this.render());
    this.typing = 0; // how many were last shown
    setInterval(() => this.forgetTyping(), 1000);
  }

  render() {
    const conversation = this.app.model.current;
    if (!conversation) return;
    this.renderHead(conversation);
    this.renderTyping();
    const members = this.membersOf(conversation).sort((a, b) => a.name.localeCompare(b.name));
    const typing = new Set(conversation.typing.keys());
    const rows = members.slice(0, SHOWN).map((member) => rowOf(member, typing.has(member.user), this.app.model.me));
    this.members.draw(rows);
    const hidden = conversation.memberCount - rows.length;
    const note =
      conversation.membersNote || (!conversation.direct && hidden > 0 ? t("And {count} more", { count: hidden }) : "");
    write("people-note", note);
    byId("people-note").hidden = !note;
  }

  /** @param {Conversation} conversation */
  membersOf(conversation) {
    const { model } = this.app;
    if (!conversation.direct) return [...conversation.members.values()];
    const both = new Set([model.me, conversation.peer]);
    return [...both].map((user) => ({
      user,
      name: model.nameOf(user),
      connections: user === model.me || model.isOnline(user) ? 1 : 0,
    }));
  }

  /**
   * @param {Member} member
   * @param {boolean} typing
   */
  entry({ user, name, connections, role }, typing) {
    const { model } = this.app;
    const state = typing
      ? t("writing…")
      : connections > 1
        ? plural(connections, "online, {count} connection", "online, {count} connections")
        : connections
          ? t("online")
          : t("away");
    const props = {
      type: "button",
      class: "member",
      "aria-haspopup": "menu",
      data: { user, act: "person" },
    };
    const face = el(
      "span",
      { class: "with-presence" },
      avatar(user, name),
      el("span", { class: connections ? "presence" : "presence away" }),
    );
    const words = el(
      "span",
      { class: "member-text" },
      bdi(user === model.me ? t("{name} (you)", { name }) : name),
      el("span", { class: "unseen", text: ", " }),
      el("span", { class: "hint", text: [role && t(role), state].filter(Boolean).join(", ") }),
    );
    return el("button", props, face, words);
  }

  /** @param {Conversation} conversation */
  renderHead(conversation) {
    const { model } = this.app;
    const title = model.titleOf(conversation);
    write("title-text", title);
    const mark = byId("title").querySelector(".hash");
    if (conversation.direct) mark?.remove();
    else if (!mark) byId("title").prepend(el("span", { class: "hash", "aria-hidden": "true", text: "#" }));
    const words = this.subtitleOf(conversation);
    write("subtitle", words);
    byId("subtitle").title = words;
  }

  /**
   * What stands below the title: what a room is about, else how many are there.
   * @param {Conversation} conversation
   */
  subtitleOf({ direct, peer, joined, topic, memberCount }) {
    const { model } = this.app;
    if (direct) return model.isOnline(peer) ? t("online") : model.isKnown(peer) ? t("away") : t(UNKNOWN);
    if (!joined) return t("You are not in this room");
    const here = plural(memberCount, "{count} person here", "{count} people here");
    return topic || (memberCount ? here : "");
  }

  forgetTyping() {
    if (this.typing && this.app.model.current?.typers(Date.now()).length !== this.typing) this.draw();
  }

  renderTyping() {
    const conversation = this.app.model.current;
    const names = conversation?.typers(Date.now()) ?? [];
    this.typing = names.length;
    const words = names.length > 3 ? [t("Several people are writing…")] : names.length === 0 ? [] : writing(names);
    const line = el("p", {}, ...words);
    if (byId("typing").textContent !== line.textContent) byId("typing").replaceChildren(...line.childNodes);
  }
}

/**
 * @param {any} member
 * @param {boolean} typing
 * @param {string} me
 */
function rowOf(member, typing, me) {
  const { user, name, connections, role } = member;
  return { key: user, depends: JSON.stringify([name, connections, typing, user === me, role]), member, typing };
}

/** @param {string[]} names */
function writing(names) {
  const people = el("span", {}, ...listed(names.map((name) => bdi(name))));
  return tParts(names.length === 1 ? "{name} is writing…" : "{name} are writing…", { name: people });
}
