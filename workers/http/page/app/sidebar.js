/** Owns the list of conversations with what is unread, and the line about oneself. */
import { avatar, bdi, byId, el, icon, onceAFrame } from "./dom.js";
import { kept } from "./storage.js";

export class Sidebar {
  /** @param {any} app see main.js */
  constructor(app) {
    this.app = app;
    this.draw = onceAFrame(() => this.render());
    byId("join-room").addEventListener("click", () => app.askRoom());
    byId("my-name").addEventListener("click", () => app.askName());
  }

  render() {
    const { model } = this.app;
    const all = [...model.conversations.values()];
    const rooms = all
      .filter((one) => !one.direct && (one.joined || one === model.current))
      .sort((a, b) => a.id.localeCompare(b.id));
    const shown = (one) =>
      one.items.length || one.outgoing.length || one === model.current || kept.get(`draft.${one.id}`);
    const directs = all.filter((one) => one.direct && shown(one)).sort((a, b) => latest(b) - latest(a));
    const focused = document.activeElement?.closest?.("[data-conversation]")?.getAttribute("data-conversation");
    byId("rooms").replaceChildren(...rooms.map((one) => this.entry(one)));
    byId("directs").replaceChildren(...directs.map((one) => this.entry(one)));
    byId("no-directs").hidden = directs.length > 0;
    if (focused) this.focus(focused);
    this.renderMe();
    const elsewhere = all.some((one) => one !== model.current && one.unread > 0);
    byId("elsewhere").hidden = !elsewhere;
  }

  entry(conversation) {
    const { model } = this.app;
    const current = conversation === model.current;
    const title = model.titleOf(conversation);
    const unread = current && model.attentive() ? 0 : conversation.unread;
    const loud = unread > 0 && (conversation.mentioned || conversation.direct);
    const label = [title, unread && `${unread} unread`, loud && !conversation.direct && "you are mentioned"]
      .filter(Boolean)
      .join(", ");
    const props = {
      type: "button",
      class: unread ? "room unread" : "room",
      "aria-current": current && "true",
      "aria-label": label,
      data: { conversation: conversation.id },
    };
    return el(
      "li",
      {},
      el(
        "button",
        { ...props, on: { click: () => this.app.open(conversation.id) } },
        conversation.direct
          ? this.face(conversation)
          : el("span", { class: "room-mark", "aria-hidden": "true", text: "#" }),
        bdi(title, { class: "room-name" }),
        !unread &&
          !current &&
          kept.get(`draft.${conversation.id}`) &&
          el("span", { class: "draft", title: "A draft" }, icon("edit")),
        unread > 0 &&
          el("span", {
            class: loud ? "badge loud" : "badge",
            text: `${loud && !conversation.direct ? "@ " : ""}${unread > 99 ? "99+" : unread}`,
          }),
      ),
    );
  }

  face({ peer }) {
    const { model } = this.app;
    const online = peer === model.me || model.isOnline(peer);
    return el(
      "span",
      { class: "with-presence" },
      avatar(peer, model.nameOf(peer), "small"),
      el("span", { class: online ? "presence" : "presence away" }),
    );
  }

  focus(id) {
    const found = [...document.querySelectorAll("[data-conversation]")].find(
      (one) => one.getAttribute("data-conversation") === id,
    );
    /** @type {HTMLElement | undefined} */ (found)?.focus();
  }

  renderMe() {
    const { model } = this.app;
    byId("my-name-text").textContent = model.name;
    byId("my-role").textContent = model.role === "user" ? "" : model.role;
    byId("my-name").setAttribute("aria-label", `Change your name, ${model.name}`);
    const face = avatar(model.me, model.name || "?", "small");
    face.id = "my-avatar";
    byId("my-avatar").replaceWith(face);
  }
}

const latest = (conversation) => conversation.outgoing.at(-1)?.time ?? conversation.last?.time ?? Infinity;
