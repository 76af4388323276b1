/** Owns the list of conversations with what is unread, and the line about oneself. */
/** @import { App } from "./main.js" */
import { Conversation } from "./conversation.js";
import { avatar, bdi, byId, el, icon, isComposing, onceAFrame, write } from "./dom.js";
import { KeyedList, morph } from "./keyed.js";
import { kept } from "./storage.js";
import { t } from "./words.js";

const LISTS = ["rooms", "directs"];
const MOST_STRANGERS = 8;
/** @type {Record<string, string>} */
const OWN_ROLES = { guest: "guest", moderator: "moderator", admin: "admin" };

export class Sidebar {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    const make = (/** @type {{conversation: Conversation}} */ { conversation }) => this.entry(conversation);
    const open = (/** @type {string} */ _, /** @type {{conversation: Conversation}} */ { conversation }) =>
      app.open(conversation.id);
    this.draw = onceAFrame(() => this.render());
    this.rooms = new KeyedList(byId("rooms"), make, open, this.draw);
    this.directs = new KeyedList(byId("directs"), make, open, this.draw);
    /** @type {HTMLInputElement} */
    this.filter = byId("filter");
    this.filter.addEventListener("input", () => this.draw());
    this.filter.addEventListener("keydown", (event) => this.pressed(event));
    for (const list of LISTS) {
      byId(list).addEventListener("scroll", () => this.showMore(), { passive: true });
      byId(list).addEventListener("contextmenu", (/** @type {any} */ event) => this.openMenu(event));
      byId(`more-${list}`).addEventListener("click", () => unreadIn(list).hidden?.scrollIntoView({ block: "nearest" }));
    }
    byId("join-room").addEventListener("click", () => app.askRoom());
    byId("my-name").addEventListener("click", () => app.askName());
  }

  render() {
    const { model } = this.app;
    const all = [...model.conversations.values()];
    const rooms = all
      .filter((one) => !one.direct && (one.joined || one === model.current) && this.fits(one))
      .sort((a, b) => this.compare(a, b) || a.id.localeCompare(b.id));
    const shown = (/** @type {Conversation} */ one) =>
      one.items.length || one.outgoing.length || one === model.current || kept.get(`draft.${one.id}`);
    const directs = all
      .filter((one) => one.direct && shown(one) && this.fits(one))
      .sort((a, b) => this.compare(a, b) || latest(b) - latest(a));
    directs.push(...this.strangers(directs));
    this.rooms.draw(rooms.map((one) => this.row(one)));
    this.directs.draw(directs.map((one) => this.row(one)));
    byId("no-directs").hidden = directs.length > 0 || this.wanted !== "";
    this.showMore();
    this.renderMe();
    const elsewhere = all.some((one) => one !== model.current && one.unread > 0);
    byId("elsewhere").hidden = !elsewhere;
  }

  get wanted() {
    return this.filter.value.trim().toLocaleLowerCase();
  }

  /** @param {Conversation} conversation */
  fits(conversation) {
    return this.app.model.titleOf(conversation).toLocaleLowerCase().includes(this.wanted);
  }

  /**
   * People to whom nothing was written yet, where somebody looks for one.
   * @param {Conversation[]} known
   */
  strangers(known) {
    const { model } = this.app;
    if (!this.wanted) return [];
    const users = [...model.names.keys()].filter((user) => !known.some(({ peer }) => peer === user));
    return users
      .map((user) => new Conversation(`@${user}`))
      .filter((one) => this.fits(one))
      .slice(0, MOST_STRANGERS);
  }

  /**
   * What is unread first.
   * @param {any} one
   * @param {any} other
   */
  compare(one, other) {
    const news = (/** @type {Conversation} */ conversation) =>
      Number(conversation.unread > 0 && conversation !== this.app.model.current);
    return news(other) - news(one);
  }

  showMore() {
    for (const list of LISTS) {
      const { hidden, isAbove } = unreadIn(list);
      const button = byId(`more-${list}`);
      button.hidden = !hidden;
      button.textContent = isAbove ? t("More unread above") : t("More unread below");
    }
  }

  /** @param {MouseEvent & {target: any}} event */
  openMenu(event) {
    const entry = event.target.closest("[data-conversation]");
    const conversation = this.app.model.conversations.get(entry?.dataset.conversation);
    if (!conversation) return;
    event.preventDefault();
    this.app.openRoomMenu(entry, conversation);
  }

  /** Ctrl+K: choose a conversation by its name. */
  find() {
    this.app.drawers.showSidebar();
    this.filter.focus();
    this.filter.select();
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    if (isComposing(event)) return;
    if (event.key === "Escape") this.endFinding();
    else if (event.key === "Enter" || event.key === "ArrowDown") {
      this.render(); // who types fast means what was typed, and not what was drawn
      const first = document.querySelector(".lists [data-conversation]");
      if (!first) return;
      event.preventDefault();
      if (event.key === "ArrowDown") return /** @type {HTMLElement} */ (first).focus();
      this.app.open(first.getAttribute("data-conversation") ?? "");
      this.endFinding();
    }
  }

  endFinding() {
    this.filter.value = "";
    this.render();
    byId("text").focus();
  }

  /** @param {Conversation} conversation */
  row(conversation) {
    return { key: conversation.id, depends: JSON.stringify(this.stateOf(conversation)), conversation };
  }

  /**
   * What is shown of a conversation.
   * @param {Conversation} conversation
   */
  stateOf(conversation) {
    const { model } = this.app;
    const current = conversation === model.current;
    const unread = current && model.attentive() ? 0 : conversation.unread;
    return {
      title: model.titleOf(conversation),
      current,
      unread,
      loud: unread > 0 && (conversation.mentioned || conversation.direct),
      draft: !unread && !current && Boolean(kept.get(`draft.${conversation.id}`)),
      online: conversation.direct && (conversation.peer === model.me || model.isOnline(conversation.peer)),
    };
  }

  /** @param {Conversation} conversation */
  entry(conversation) {
    const { title, current, unread, loud, draft, online } = this.stateOf(conversation);
    const spoken = [
      unread && t("{count} unread", { count: unread }),
      loud && !conversation.direct && t("you are mentioned"),
      draft && t("a draft"),
    ];
    const face = conversation.direct
      ? this.face(conversation, online)
      : el("span", { class: "room-mark", "aria-hidden": "true", text: "#" });
    const badge = `${loud && !conversation.direct ? "@ " : ""}${unread > 99 ? "99+" : unread}`;
    const props = {
      type: "button",
      class: unread ? "room unread" : "room",
      "aria-current": current && "true",
      data: { conversation: conversation.id, act: "open" },
    };
    const parts = [
      face,
      bdi(title, { class: "room-name" }),
      el("span", {
        class: "unseen",
        text: spoken
          .filter(Boolean)
          .map((words) => `, ${words}`)
          .join(""),
      }),
      draft && el("span", { class: "draft", title: t("A draft") }, icon("edit")),
      unread > 0 && el("span", { class: loud ? "badge loud" : "badge", "aria-hidden": "true", text: badge }),
    ];
    return el("li", {}, el("button", props, ...parts));
  }

  /**
   * @param {Conversation} conversation
   * @param {boolean} online
   */
  face({ peer }, online) {
    const { model } = this.app;
    return el(
      "span",
      { class: "with-presence" },
      avatar(peer, model.nameOf(peer), "small"),
      el("span", { class: online ? "presence" : "presence away" }),
    );
  }

  renderMe() {
    const { model } = this.app;
    write("my-name-text", model.name);
    write("my-role", model.role === "user" ? "" : t(OWN_ROLES[model.role] ?? model.role));
    morph(byId("my-avatar"), Object.assign(avatar(model.me, model.name || "?", "small"), { id: "my-avatar" }));
  }
}

/**
 * An unread conversation of a list that is out of view: the lowest below it, else the first above it.
 * @param {string} list
 */
function unreadIn(list) {
  const { top, bottom } = byId(list).getBoundingClientRect();
  const middle = (/** @type {Element} */ node) => node.getBoundingClientRect().top + node.clientHeight / 2;
  const all = [...document.querySelectorAll(`#${list} .room.unread`)];
  const below = all.findLast((node) => middle(node) > bottom);
  return { hidden: below ?? all.find((node) => middle(node) < top), isAbove: !below };
}

/** @param {Conversation} conversation */
const latest = (conversation) => conversation.outgoing.at(-1)?.time ?? conversation.last?.time ?? Infinity;
