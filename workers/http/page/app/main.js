/**
 * Owns the page as a whole: makes the parts, connects the client's events with them, and does what a person asks for.
 * The parts know each other through the one object `app`.
 */
/** @import { Conversation, Message, Person } from "./conversation.js" */
/** @import { Outgoing } from "./outbox.js" */
/** @import { Left, Welcome } from "../chat/wire.js" */

import { hashOf, placeIn, ROOM_NAME } from "./address.js";
import { Attention } from "./attention.js";
import { connect } from "./chat.js";
import { colourAgain } from "./code.js";
import { Composer } from "./composer.js";
import { byId, isComposing } from "./dom.js";
import { Drawers } from "./drawers.js";
import { Loader } from "./loader.js";
import { Login } from "./login.js";
import { Model } from "./model.js";
import { Outbox, reasonOf } from "./outbox.js";
import { loadWhenIdle, usePart } from "./part.js";
import { People } from "./people.js";
import { press } from "./press.js";
import { sanctionText } from "./sanction_text.js";
import { startShell } from "./shell.js";
import { Sidebar } from "./sidebar.js";
import { Status } from "./status.js";
import { browserStorage, kept } from "./storage.js";
import { startTheme } from "./theme.js";
import { Timeline } from "./timeline.js";
import { toast } from "./toasts.js";
import { learnWords, t } from "./words.js";

const FIRST_ROOM = "lobby";
const READ_EVERY = 1000; // ms
const MOST_ROOMS = 100; // of one connection, as the server has it unless it is told otherwise
/** @type {("edited" | "deleted" | "reacted")[]} */
const CHANGES = ["edited", "deleted", "reacted"];
/** @type {("muted" | "unmuted")[]} */
const SANCTIONS = ["muted", "unmuted"];

export class App {
  constructor() {
    this.toast = toast;
    this.model = new Model(
      (what, conversation) => this.changed(what, conversation),
      (...came) => this.attention.arrived(...came),
    );
    this.model.attentive = () =>
      document.visibilityState === "visible" &&
      document.hasFocus() &&
      this.timeline.atEnd &&
      this.timeline.toPlace === false;
    this.login = new Login(this);
    this.chat = connect(address(), {
      rooms: this.rooms(),
      name: kept.get("name", ""),
      token: () => this.login.token(),
      storage: browserStorage(),
    });
    this.loader = new Loader(this);
    this.outbox = new Outbox(this.chat, this.model);
    this.drawers = new Drawers();
    this.sidebar = new Sidebar(this);
    this.people = new People(this);
    this.composer = new Composer(this);
    this.timeline = new Timeline(this);
    this.attention = new Attention(this);
    this.status = new Status(this.chat);
    this.readTimer = 0;
    this.isForgotten = false; // signed out: the end of the page keeps nothing
    /** @type {Set<string>} rooms that were left here: an address alone does not join them again */
    this.leftByHand = new Set();
    /** @type {Map<string, import("../chat/wire.js").Muted>} of rooms, until the server has put one out of them */
    this.banned = new Map();
    /** @type {Map<string, import("../chat/wire.js").Muted>} by room; "": everywhere */
    this.muted = new Map();
    this.listen();
    this.listenToPage();
  }

  // ---- what the server says ------------------------------------------------------------------------

  listen() {
    const { chat, model } = this;
    chat.on("welcome", (welcome) => this.welcomed(welcome));
    chat.on("joined", (state) => model.joined(state));
    chat.on("left", (left) => this.leftRoom(left));
    chat.on("message", (entry) => model.message(entry));
    for (const type of CHANGES) chat.on(type, (entry) => model.changedMessage(entry));
    chat.on("gap", (gap) => model.gap(gap));
    chat.on("reset", (reset) => model.reset(reset));
    chat.on("read", (read) => model.read(read));
    chat.on("gap", ({ room, changes }) => changes && this.loader.againSoon(room));
    chat.on("typing", (event) => model.typing(event, Date.now()));
    chat.on("presence", (change) => model.presence(change) && this.membersLater(change.room));
    chat.on("banned", (told) => told.room !== undefined && this.banned.set(told.room, told));
    for (const type of SANCTIONS) chat.on(type, (told) => this.sanctioned(told));
    chat.on("error", (error) => toast(reasonOf(error)));
    chat.on("state", ({ state, code, reason }) => {
      if (state !== "connected") model.disconnected();
      if (code === 4001) this.login.distrust();
      if (state === "closed" && code === 4001) this.login.refused(reason);
    });
  }

  /** @param {Welcome} welcome */
  welcomed(welcome) {
    const first = !this.model.me;
    this.model.welcome(welcome);
    this.login.welcomed(welcome);
    this.attention.pushKey = welcome.push ?? "";
    // A page that failed, or that a lost connection interrupted, can be asked for again.
    for (const conversation of this.model.conversations.values()) conversation.stuck = false;
    if (!this.model.inbox.loaded) this.loader.inbox();
    if (first) this.outbox.restore();
    loadWhenIdle(() => this.chat.state.state === "connected" && import("./person.js"));
    colourAgain();
    if (first) this.keepRooms(); // later, another tab may have left one
    if (first || !this.model.current) this.begin();
    else this.refresh();
  }

  /** The place in the address, or where one was the last time. */
  begin() {
    const { id, offset } = placeIn(location.hash);
    const last = placeIn(hashOf(kept.get("last", ""))).id;
    const known = this.rooms().includes(last) || last.startsWith("@");
    if (!id) this.tellNowhere();
    this.open(id || (known && last) || this.rooms()[0] || FIRST_ROOM, { offset, instead: true });
  }

  tellNowhere() {
    if (location.hash) toast(t("This address leads to no room and to nobody"));
  }

  /** @param {Left} left */
  leftRoom({ room, reason }) {
    this.model.left({ room });
    this.forgetRoom(room);
    const banned = this.banned.get(room);
    this.banned.delete(room);
    if (banned) toast(sanctionText(banned));
    else if (reason)
      toast(
        reason === "refused"
          ? t("You may not be in #{room}", { room })
          : t("You were taken out of #{room}: {reason}", { room, reason }),
      );
    this.composer.refresh();
  }

  /** @param {import("../chat/wire.js").Muted} told */
  sanctioned(told) {
    const { type, room = "" } = told;
    if (type === "muted") this.muted.set(room, told);
    else this.muted.delete(room);
    toast(sanctionText(told));
    this.composer.refresh();
  }

  /** @param {string} room */
  membersLater(room) {
    const conversation = this.model.conversations.get(room);
    if (conversation && conversation === this.model.current && conversation.memberCount <= 1000)
      this.loader.members(conversation);
  }

  /**
   * Draw what is affected, soon.
   * @param {import("./model.js").What} what
   * @param {Conversation} [conversation]
   */
  changed(what, conversation) {
    if (what === "list" || what === "me") {
      this.sidebar.draw();
      this.attention.title();
    }
    if (what === "me") this.composer.refresh();
    if (what === "people") this.sidebar.draw(); // who is online
    const elsewhere = conversation && conversation !== this.model.current;
    if (elsewhere && !(what === "people" && this.model.current?.direct)) return;
    if (what === "messages" || what === "me") this.timeline.draw();
    if (what === "people" || what === "typing" || what === "me") this.people.draw();
    if (what === "people") this.composer.mentions.peopleChanged();
  }

  // ---- where we are --------------------------------------------------------------------------------

  listenToPage() {
    addEventListener("hashchange", () => this.addressChanged());
    document.querySelector(".skip")?.addEventListener("click", (event) => {
      event.preventDefault(); // its address is no room's
      byId("text").focus();
    });
    addEventListener("focus", () => this.looked());
    document.addEventListener("visibilitychange", () => this.looked());
    for (const type of ["paste", "drop", "dragover"])
      addEventListener(type, (/** @type {any} */ event) =>
        refuseFiles(event, event.clipboardData ?? event.dataTransfer),
      );
    byId("room-menu").addEventListener("click", (/** @type {any} */ { currentTarget }) =>
      this.openRoomMenu(currentTarget),
    );
    byId("settings").addEventListener("click", () =>
      usePart(import("./settings.js"), ({ openSettings }) => openSettings(this)),
    );
    document.addEventListener("keydown", (event) => {
      if (isComposing(event)) return;
      if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey) {
        event.preventDefault();
        this.sidebar.find();
      }
      if (event.key === "/" && event.ctrlKey && !document.querySelector("dialog"))
        usePart(import("./shortcuts.js"), ({ openShortcuts }) => openShortcuts());
      if (event.key === "Escape" && event.shiftKey) usePart(import("./room_menu.js"), ({ markRead }) => markRead(this));
      if (!event.altKey || !["ArrowUp", "ArrowDown"].includes(event.key)) return;
      event.preventDefault();
      this.step(event.key === "ArrowUp" ? -1 : 1);
    });
  }

  addressChanged() {
    if (this.login.addressChanged()) return;
    const { id, offset } = placeIn(location.hash);
    if (!id) {
      this.tellNowhere();
      if (this.model.current) history.replaceState(null, "", hashOf(this.model.current.id));
    } else this.open(id, { offset, join: !this.leftByHand.has(id) }); // Back is no wish to join again
  }

  /**
   * Show a conversation; a room is joined where we are not in it yet.
   * @param {string} id
   * @param {{offset?: number | null, join?: boolean, instead?: boolean}} [how] at which message; `instead`: of the present
   *   place in the browser's history
   */
  open(id, { offset = null, join = true, instead = false } = {}) {
    const { model } = this;
    if (!id) return;
    const conversation = model.conversation(id);
    if (placeIn(location.hash).id !== id) {
      if (instead) history.replaceState(null, "", hashOf(id, offset));
      else history.pushState(null, "", hashOf(id, offset));
    }
    if (offset !== null && model.current === conversation && conversation.loaded) {
      this.timeline.find(offset);
      return;
    }
    if (model.current && model.current !== conversation) model.current.newAfter = null;
    model.current = conversation;
    if (join) this.leftByHand.delete(id);
    conversation.joining = join && !conversation.joined;
    kept.set("last", id);
    if (!conversation.unread) conversation.newAfter = null;
    else conversation.newAfter ??= conversation.readTo || conversation.newFrom;
    this.drawers.close();
    this.drawers.shown(conversation.direct);
    this.composer.show(conversation);
    this.timeline.show(offset);
    this.refresh(join);
    this.composer.takeFocus();
  }

  /** Ask for what the current conversation lacks. */
  async refresh(join = true) {
    const { current } = this.model;
    if (!current) return;
    this.sidebar.draw();
    this.people.draw();
    this.attention.title();
    if (!current.joined && (!join || this.leftByHand.has(current.id))) join = false;
    if (!current.joined && !(join && (await this.join(current)))) return;
    this.loader.members(current);
    this.loader.latest(current);
  }

  /** @param {Conversation} conversation */
  async join(conversation) {
    conversation.joining = true;
    try {
      await this.chat.join(conversation.id);
    } catch (error) {
      toast(`#${conversation.id}: ${reasonOf(error)}`);
      return false;
    } finally {
      conversation.joining = false;
      this.composer.refresh();
    }
    this.keepRooms();
    return true;
  }

  /**
   * The next conversation in the list, or the one before.
   * @param {number} by
   */
  step(by) {
    const entries = [...document.querySelectorAll("[data-conversation]")];
    const ids = entries.map((one) => one.getAttribute("data-conversation") ?? "");
    this.open(ids[(ids.indexOf(this.model.current?.id ?? "") + by + ids.length) % ids.length]);
  }

  /** The end of the current conversation is being looked at: say so, at most once a second. */
  looked() {
    if (!this.model.current?.loaded || !this.model.attentive() || this.readTimer) return;
    const marks = this.model.readCurrent();
    if (!marks.length) return;
    for (const mark of marks) this.chat.read(...mark);
    this.timeline.showJump();
    this.readTimer = window.setTimeout(() => {
      this.readTimer = 0;
      this.looked();
    }, READ_EVERY);
  }

  /** @returns {string[]} */
  rooms() {
    return roomsAmong([placeIn(location.hash).id, ...kept.get("rooms", [FIRST_ROOM])]);
  }

  /** Add the rooms that we are in: other tabs have theirs in the same list. */
  keepRooms() {
    const ours = [...this.model.conversations.values()].filter((one) => !one.direct && one.joined).map((one) => one.id);
    for (const id of ours) this.leftByHand.delete(id);
    kept.set("rooms", roomsAmong([...ours, ...kept.get("rooms", [])]));
    this.attention.pushSoon();
  }

  /** @param {string} id */
  forgetRoom(id) {
    kept.set(
      "rooms",
      kept.get("rooms", []).filter((/** @type {string} */ room) => room !== id),
    );
  }

  // ---- what a person asks for ----------------------------------------------------------------------

  /**
   * @param {Conversation} conversation
   * @param {string} text
   * @param {number | undefined} replyTo
   */
  say(conversation, text, replyTo) {
    conversation.newAfter = null;
    this.outbox.say(conversation, text, replyTo);
    this.timeline.jump();
  }

  /** @param {Outgoing} outgoing */
  discard(outgoing) {
    this.outbox.discard(outgoing);
    if (!byId("text").value) this.composer.insert(outgoing.text);
  }

  /**
   * @param {Conversation} conversation
   * @param {Message} message
   * @param {string} text
   */
  async change(conversation, message, text) {
    const { offset, epoch } = message;
    try {
      await this.chat.edit(this.model.logOf(conversation), offset, text, { epoch });
    } catch (error) {
      toast(reasonOf(error));
      this.composer.giveBack(conversation, message, text);
    }
  }

  /**
   * @param {Conversation} conversation
   * @param {Message} message
   */
  remove(conversation, message) {
    usePart(import("./asks.js"), ({ askToDelete }) => askToDelete(this, conversation, message));
  }

  /**
   * @param {Conversation} conversation
   * @param {Message} message
   * @param {string} emoji
   */
  react(conversation, message, emoji, only = false) {
    const has = message.reactions.get(emoji)?.has(this.model.me) ?? false;
    if (has && only) return;
    const { offset, epoch } = message;
    this.attempt(this.chat.react(this.model.logOf(conversation), offset, emoji, { remove: has, epoch }));
  }

  /**
   * @param {string} id
   * @param {number | null} [offset]
   */
  copyLink(id, offset = null) {
    this.copy(new URL(hashOf(id, offset), location.href).href);
  }

  /** @param {string} text */
  async copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      toast(t("Copied"));
    } catch {
      toast(t("The browser does not allow copying here"));
    }
  }

  /**
   * @param {HTMLElement} anchor
   * @param {Person} person
   */
  openPerson(anchor, person) {
    usePart(import("./person.js"), ({ openPersonMenu }) => openPersonMenu(this, anchor, person));
  }

  /** @param {string} user */
  moderate(user) {
    usePart(import("./moderation.js"), ({ openModeration }) => openModeration(this, user));
  }

  listSanctions() {
    usePart(import("./sanctions.js"), ({ openSanctions }) => openSanctions(this));
  }

  /** @param {Conversation} [conversation] none: of all */
  askNotifications(conversation) {
    usePart(import("./notifications.js"), ({ openLevel, openNotifications }) =>
      conversation ? openLevel(this, conversation) : openNotifications(this),
    );
  }

  /**
   * @param {HTMLElement} anchor
   * @param {Conversation | null} [conversation]
   */
  openRoomMenu(anchor, conversation = this.model.current) {
    if (conversation) usePart(import("./room_menu.js"), ({ openRoomMenu }) => openRoomMenu(this, anchor, conversation));
  }

  /** @param {Conversation} conversation */
  leave(conversation) {
    this.attempt(this.chat.leave(conversation.id)); // without a connection, the next one does not enter it
    this.model.left({ room: conversation.id });
    this.model.conversations.delete(conversation.id);
    this.forgetRoom(conversation.id);
    this.leftByHand.add(conversation.id);
    const others = [...this.model.conversations.values()].filter((one) => !one.direct && (one.joined || one.joining));
    this.open(others[0]?.id ?? FIRST_ROOM, { instead: true });
  }

  askRoom() {
    usePart(import("./asks.js"), ({ askRoom }) => askRoom(this));
  }

  askName() {
    usePart(import("./asks.js"), ({ askName }) => askName(this));
  }

  /** @param {Promise<unknown>} promise */
  async attempt(promise) {
    try {
      await promise;
    } catch (error) {
      toast(reasonOf(error));
    }
  }
}

/** @param {any[]} names @returns {string[]} each once, and no more than a connection may have */
const roomsAmong = (names) =>
  [...new Set(names)].filter((name) => typeof name === "string" && ROOM_NAME.test(name)).slice(0, MOST_ROOMS);

/**
 * Files cannot be sent, wherever they are let go: nothing happens silently, and the browser shows none in the page's place.
 * @param {Event} event
 * @param {DataTransfer | null} data
 */
function refuseFiles(event, data) {
  if (!data?.types.includes("Files") || data.types.includes("text/plain")) return;
  event.preventDefault();
  if (event.type !== "dragover")
    toast(t("Images and files cannot be sent here, only text: a link to where they lie, for example"));
}

function address() {
  const url = new URL(location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.hash = url.search = "";
  return url;
}

press.listen();
await learnWords();
startTheme();
const app = new App();
startShell(app);
