/**
 * Owns the list of messages on the page: which of them are in the document, where it is scrolled to, when older ones are
 * asked for, and moving through it by keys.
 *
 * It keeps to the end while the reader is there, and keeps what the reader looks at in its place while rows come above.
 */
/** @import { Conversation, Message } from "./conversation.js" */
/** @import { App } from "./main.js" */
/** @import { Row } from "./rows.js" */
import { byId, onceAFrame, write } from "./dom.js";
import { KeyedList } from "./keyed.js";
import { nodeOf } from "./message.js";
import { reasonOf } from "./outbox.js";
import { press } from "./press.js";
import { firstInView, rowsBeingRead, stopReading } from "./reading.js";
import { rowsOf } from "./rows.js";
import { keptInTab } from "./storage.js";
import { Tools } from "./tools.js";
import { listenToTouch } from "./touch.js";
import { plural, t } from "./words.js";

const NEAR_END = 60; // px
const NEAR_EDGE = 800;
const WINDOW = 200; // messages in the document; the others wait in the model
const STEP = 60; // by as many the shown ones move on
const SCROLLED_TO = "places"; // where one had scrolled to, by conversation
const MOST_ABOVE = 2000; // messages above those that are shown, while one reads further up

export class Timeline {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    /** @type {HTMLElement} */
    this.scroller = byId("scroll");
    /** @type {HTMLElement} */
    this.list = byId("timeline");
    this.tools = new Tools(app);
    this.rows = new KeyedList(
      this.list,
      (row) => nodeOf(row, app.model.shown, app),
      (act, row, node) => this.acted(act, row, node),
    );
    this.atEnd = true; // and stays there, whatever comes
    /** @type {any} the first item that is shown; null: so that the last ones are */
    this.firstShown = null;
    this.placedAt = 0; // where the page itself has scrolled to
    this.seenAt = 0; // where the scroller was last
    this.toPlace = false; // the next drawing decides where to begin
    /** @type {number | null} the message to begin at */
    this.target = null;
    /** @type {any} the one that is shown */
    this.conversation = null;
    this.before = keptInTab.get(SCROLLED_TO, {}); // at the last load of this page
    this.seeking = 0; // counts searches: the latest counts
    /** @type {{key: string, at: number} | null} what one reads further up; null: one is at the end */
    this.reading = null;
    this.heightRead = 0; // of all rows, then
    this.draw = onceAFrame(() => this.render());
    this.showPointed = () => !press.isDown && this.tools.show(this.list.querySelector(".message[data-offset]:hover"));
    this.listen();
  }

  listen() {
    addEventListener("pagehide", () => this.keep());
    this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.scroller.addEventListener("wheel", ({ deltaY }) => deltaY < 0 && this.leaveEnd(), { passive: true });
    const observer = new ResizeObserver(this.resized);
    for (const node of [this.scroller, this.list]) observer.observe(node);
    byId("jump").addEventListener("click", () => this.jump());
    this.list.addEventListener("pointerover", (event) => event.pointerType === "mouse" && this.pointed(event));
    byId("jump-mention").addEventListener("click", () => this.findMention());
    this.list.addEventListener(
      "click",
      (/** @type {any} */ event) => event.pointerType !== "touch" && this.tools.show(messageOf(event.target)),
    );
    this.list.addEventListener("focusin", (event) => this.focused(messageOf(event.target)));
    this.list.addEventListener("keydown", (event) => this.pressed(event));
    listenToTouch(this.list, {
      held: (node) => this.tools.menu(node, this.messageAt(node)),
      swiped: (node) => this.tools.pressed("r", node),
    });
    this.scroller.addEventListener(
      "pointerleave",
      () => !this.list.contains(document.activeElement) && this.tools.hide(),
    );
  }

  /**
   * Another message is under the pointer: it gets the bar, while something is pressed at the end of the press. Firefox
   * says so before it changes what `:hover` finds.
   * @param {{target: any}} event
   */
  pointed({ target }) {
    if (press.defers(this.showPointed)) return;
    if (!press.isDown) this.tools.show(target.closest(".message[data-offset]"));
  }

  /**
   * What a press on a part of a row means.
   * @param {string} act
   * @param {Row} row
   * @param {HTMLElement} node
   */
  acted(act, { message }, node) {
    const { app } = this;
    if (act === "person") app.openPerson(node, message.from);
    else if (act === "quote") this.find(message.replyTo, message.segment);
    else if (act === "react") app.react(app.model.shown, message, node.dataset.key ?? "");
    else if (act === "new") this.findNew();
    else if (act === "copy") app.copy(node.parentElement?.querySelector("code")?.textContent ?? "");
    else if (act === "unfold") this.unfold(message);
    else if (act === "again") app.outbox.send(message);
    else if (act === "discard") app.discard(message);
    else if (act === "name") app.askName();
    else if (act === "join") app.open(app.model.shown.id, { join: true });
    else if (act === "invite") app.copyLink(app.model.shown.id);
  }

  /**
   * Show the whole of a long message; what one reads stays where it is.
   * @param {Message} message
   */
  unfold(message) {
    const conversation = this.app.model.shown;
    this.firstShown ??= conversation.items[this.range(conversation).from] ?? null;
    this.atEnd = false;
    message.unfolded = true;
    message.version += 1;
    this.render();
    if (this.scroller.scrollHeight <= this.scroller.clientHeight) this.toEnd();
  }

  /**
   * Another conversation.
   * @param {number | null} [target] the offset of the message to show
   */
  show(target = null) {
    this.tools.hide();
    this.remember();
    this.conversation = this.app.model.current;
    this.rows.clear();
    this.seeking += 1;
    this.atEnd = true;
    this.firstShown = null;
    this.toPlace = true;
    this.target = target;
    this.render();
  }

  /** Where one has scrolled to stays with the conversation. */
  remember() {
    const { conversation, firstShown } = this;
    if (conversation && !this.toPlace)
      conversation.place = this.atEnd ? null : { first: firstShown, held: this.hold() };
  }

  /** Over a reload of the page. */
  keep() {
    if (this.app.isForgotten) return;
    this.remember();
    for (const { id, place, segment } of this.app.model.conversations.values()) {
      const { key = "", at = 0 } = place?.held ?? {};
      const [itsSegment, offset] = key.split(" ").map(Number);
      if (offset && itsSegment === segment) this.before[id] = { offset, at };
    }
    keptInTab.set(SCROLLED_TO, this.before);
  }

  // ---- drawing -------------------------------------------------------------------------------------

  render() {
    const conversation = this.app.model.current;
    if (!conversation) return;
    this.keepHeld(conversation);
    this.trim(conversation);
    const range = this.range(conversation);
    const { me } = this.app.model;
    const nameOf = (/** @type {string} */ user) => this.app.model.nameOf(user);
    const held = this.atEnd && !press.isDown ? null : this.hold();
    this.rows.draw(rowsOf(conversation, { me, now: Date.now(), nameOf, ...range }));
    this.keepTabStop();
    if (this.toPlace && conversation.loaded) this.begin(conversation);
    else if (held) this.release(held);
    else this.toEnd();
    this.tools.place();
    this.showJump();
    this.read();
    this.fill();
  }

  /** The window, the letters or what stands beside the messages have another size. */
  resized = () => {
    if (this.atEnd) this.toEnd();
    else if (this.reading && !press.defers(this.resized)) this.release(this.reading);
  };

  read() {
    this.reading = this.atEnd ? null : this.hold();
    this.heightRead = this.scroller.scrollHeight;
  }

  /**
   * A message with selected words, or with the focus of somebody at the keyboard, is read: it stays, and so does the view.
   * @param {Conversation} conversation
   */
  keepHeld(conversation) {
    if (!this.atEnd || this.toPlace) return;
    const first = conversation.items[this.range(conversation).from];
    const messages = rowsBeingRead(this.list).map((row) => this.messageAt(row));
    const above = messages.find((one) => one && one.offset < first.offset);
    if (above) Object.assign(this, { atEnd: false, firstShown: above });
  }

  /** @param {Conversation} conversation */
  trim(conversation) {
    if (this.toPlace) return;
    const { from } = this.range(conversation);
    const least = this.atEnd ? 0 : conversation.items.length - Math.max(0, from - MOST_ABOVE);
    this.app.model.trim(conversation, least);
  }

  /**
   * Which items are shown.
   * @param {Conversation} conversation
   */
  range({ items }) {
    const at = this.firstShown ? items.indexOf(this.firstShown) : -1;
    const from = at >= 0 ? at : Math.max(0, items.length - WINDOW);
    return { from, to: Math.min(items.length, from + WINDOW) };
  }

  /**
   * Show the items from this place on.
   * @param {Conversation} conversation
   * @param {number} place
   */
  showFrom(conversation, place) {
    const { items } = conversation;
    this.firstShown = items[Math.max(0, Math.min(place, items.length - WINDOW))] ?? null;
  }

  /**
   * Where to begin: at the message that was asked for, at the first new one if they do not all fit, else at the end.
   * @param {Conversation} conversation
   */
  begin(conversation) {
    this.toPlace = false;
    const { target } = this;
    if (target !== null) {
      this.target = null;
      queueMicrotask(() => this.find(target));
      return;
    }
    const before = this.before[conversation.id];
    delete this.before[conversation.id];
    if (this.goBack(conversation)) return;
    if (before?.offset > 0) {
      queueMicrotask(() => this.find(before.offset, conversation.segment, before.at));
      return;
    }
    this.beginAtNew(conversation);
    this.app.looked(); // only now: what lies below the first new message was not seen yet
  }

  /**
   * To where one had scrolled before another conversation was shown. Returns whether there is such a place.
   * @param {Conversation} conversation
   */
  goBack(conversation) {
    const { place } = conversation;
    conversation.place = null;
    if (!place?.held || !conversation.items.includes(place.first)) return false;
    this.atEnd = false;
    this.firstShown = place.first;
    this.render();
    this.release(place.held);
    return true;
  }

  /**
   * The view begins at the first new message, below a little of what was read; at the end, if all new ones fit.
   * @param {Conversation} conversation
   */
  beginAtNew(conversation) {
    this.firstShown = null;
    this.drawNew(conversation);
    this.scrollTo(this.scroller.scrollHeight);
    const line = this.rows.node("new");
    this.atEnd = !line || (!this.firstShown && line.offsetTop >= this.scroller.scrollTop);
    if (!line || this.atEnd) return;
    this.firstShown ??= conversation.items[this.range(conversation).from];
    const above = /** @type {HTMLElement} */ (line.previousElementSibling?.previousElementSibling ?? line);
    this.scrollTo(Math.max(above.offsetTop, line.offsetTop - this.scroller.clientHeight / 4));
  }

  /**
   * Have the first new message among those that are in the document.
   * @param {Conversation} conversation
   */
  drawNew(conversation) {
    const { items, newAfter, segment } = conversation;
    if (newAfter === null) return;
    const place = items.findIndex((item) => item.segment === segment && item.offset > newAfter);
    if (place < 0 || place >= items.length - WINDOW) return;
    this.showFrom(conversation, place - STEP);
    const { me } = this.app.model;
    const nameOf = (/** @type {string} */ user) => this.app.model.nameOf(user);
    this.rows.draw(rowsOf(conversation, { me, now: Date.now(), nameOf, ...this.range(conversation) }));
  }

  /** To the first new message, which is above what was loaded. */
  async findNew() {
    const { shown } = this.app.model;
    this.seeking += 1;
    const search = this.seeking;
    this.leaveEnd();
    await this.app.loader.toFirstNew(shown);
    if (search === this.seeking) this.beginAtNew(shown);
  }

  /** The first row that can be seen, and where it is. */
  hold = () => firstInView(this.scroller, this.list);

  /** @param {{key: string, at: number}} held */
  release({ key, at }) {
    const node = this.rows.node(key);
    const moved = node ? node.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top - at : 0;
    if (moved) this.scrollTo(this.scroller.scrollTop + moved);
  }

  keepTabStop() {
    const last = this.messages().at(-1);
    if (!this.list.contains(document.activeElement)) this.stopAt(last);
    this.scroller.tabIndex = last ? -1 : 0; // what is longer than the window is scrolled by keys, too
    const { on } = this.tools;
    if (on && (!on.isConnected || (this.messageAt(on)?.deleted ?? true))) this.tools.hide();
  }

  // ---- scrolling -----------------------------------------------------------------------------------

  /** @param {number} top */
  scrollTo(top) {
    this.scroller.scrollTo({ top, behavior: "instant" });
    this.placedAt = this.seenAt = this.scroller.scrollTop;
    this.read();
  }

  /** The reader scrolls, or what the page itself has scrolled is told. */
  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const left = scrollHeight - scrollTop - clientHeight;
    if (this.reading && scrollHeight !== this.heightRead) {
      this.resized(); // shorter rows have moved the view, not the reader
      return;
    }
    const byReader = Math.abs(scrollTop - this.placedAt) > 1;
    if (byReader || !this.atEnd) this.moved(left, scrollTop > this.seenAt);
    this.seenAt = scrollTop;
    this.read();
    this.tools.place();
    this.showJump();
    this.fill(byReader);
    if (this.atEnd) this.app.looked();
  }

  /**
   * To the end by whoever gets near it downwards; away from it by any step up.
   * @param {any} left
   * @param {any} down
   */
  moved(left, down) {
    const conversation = this.app.model.current;
    if (!conversation || this.toPlace) return;
    const isLast = this.range(conversation).to === conversation.items.length;
    const arrived = isLast && (left < 2 || (down && left < NEAR_END));
    if (arrived === this.atEnd) return;
    if (arrived) Object.assign(this, { atEnd: true, firstShown: null });
    else this.leaveEnd();
  }

  leaveEnd() {
    const conversation = this.app.model.current;
    const { scrollHeight, clientHeight } = this.scroller;
    if (!this.atEnd || !conversation || scrollHeight <= clientHeight) return;
    this.firstShown = conversation.items[this.range(conversation).from] ?? null;
    this.atEnd = false;
  }

  /** To the latest message, at once: in a room that talks one would never arrive otherwise. */
  jump() {
    this.seeking += 1;
    this.atEnd = true;
    this.firstShown = null;
    stopReading(this.list, this.scroller);
    this.render();
    this.toEnd();
  }

  toEnd() {
    this.atEnd = true;
    this.firstShown = null;
    this.scrollTo(this.scroller.scrollHeight);
    this.app.looked();
  }

  /**
   * Show others before the reader gets to the first or last one here; ask for older ones where there is none.
   * @param {boolean} [byReader] who scrolls down may leave behind what is selected
   */
  fill(byReader = false) {
    const conversation = this.app.model.current;
    if (!conversation?.loaded || this.toPlace) return;
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const { from, to } = this.range(conversation);
    if (scrollTop < NEAR_EDGE && from > 0) this.slide(conversation, from - STEP);
    else if (scrollHeight - scrollTop - clientHeight < NEAR_EDGE && to < conversation.items.length) {
      if (byReader || !rowsBeingRead(this.list).length) this.slide(conversation, from + STEP);
    } else if (scrollTop < NEAR_EDGE && conversation.more && !conversation.stuck && !conversation.loading) {
      // The line "new messages" would go up and away, and the button on it, too.
      if (!conversation.lacksNew() || (byReader && scrollTop < 1)) this.app.loader.older(conversation);
    }
  }

  /**
   * @param {Conversation} conversation
   * @param {number} place
   */
  slide(conversation, place) {
    if (this.atEnd) return;
    this.showFrom(conversation, place);
    this.draw();
  }

  showJump() {
    const conversation = this.app.model.current;
    const unread = conversation?.unread ?? 0;
    const mentions = conversation?.mentions.size ?? 0;
    byId("jump-mention").hidden = mentions === 0 || this.atEnd;
    write("jump-mention-text", plural(mentions, "{count} mention", "{count} mentions"));
    byId("jump").hidden = this.atEnd;
    byId("jump").classList.toggle("unread", unread > 0);
    write("jump-text", unread ? t("{count} new", { count: unread }) : t("Latest"));
  }

  /** To the first unread message that mentions us; the next press leads to the next one. */
  findMention() {
    const { mentions } = this.app.model.shown;
    const first = Math.min(...mentions);
    mentions.delete(first);
    this.app.model.shown.mentioned = mentions.size > 0;
    this.showJump();
    this.app.sidebar.draw();
    this.find(first);
  }

  /**
   * Show the message at an offset, loading what is needed; where it is not to be had, say so and stay.
   * @param {number} offset
   * @param {number} [segment] of the log
   * @param {number} [at] where its top was, in the window, before the page was loaded anew
   */
  async find(offset, segment = this.app.model.shown.segment, at) {
    const conversation = this.app.model.shown;
    this.seeking += 1;
    const search = this.seeking;
    const wasAtEnd = this.atEnd;
    this.leaveEnd();
    let here = false;
    try {
      here = segment === conversation.segment && (await this.app.loader.until(conversation, offset));
      if (!here && at === undefined) this.app.toast(t("That message is not kept any more"));
    } catch (error) {
      this.app.toast(reasonOf(error));
    }
    if (search !== this.seeking) return;
    if (here) this.centre(conversation, offset, at);
    else if (wasAtEnd) this.jump();
  }

  /**
   * @param {Conversation} conversation
   * @param {number} offset
   * @param {number} [at]
   */
  centre(conversation, offset, at) {
    const message = conversation.byOffset.get(offset);
    if (!message) return;
    this.atEnd = false;
    this.showFrom(conversation, conversation.items.indexOf(message) - WINDOW / 2);
    this.firstShown ??= conversation.items[0];
    this.render();
    const key = `${conversation.segment} ${offset}`;
    const node = this.rows.node(key);
    if (!node) return;
    if (at !== undefined) {
      this.release({ key, at });
      return;
    }
    const room = this.scroller.clientHeight - node.offsetHeight;
    this.scrollTo(node.offsetTop - Math.max(0, room / 2));
    delete node.dataset.found;
    requestAnimationFrame(() => (node.dataset.found = ""));
    node.focus({ preventScroll: true });
  }

  // ---- moving by keys ------------------------------------------------------------------------------

  messages() {
    return /** @type {HTMLElement[]} */ ([...this.list.querySelectorAll(".message[data-offset]")]);
  }

  /**
   * @returns {import("./conversation.js").Message | undefined}
   * @param {HTMLElement} node
   */
  messageAt(node) {
    const conversation = this.app.model.current;
    if (!conversation || Number(node.dataset.segment) !== conversation.segment) return undefined;
    return conversation.byOffset.get(Number(node.dataset.offset));
  }

  /** @param {HTMLElement} node */
  focused(node) {
    if (!node) return;
    this.stopAt(node);
    this.tools.show(node);
  }

  /**
   * The one message that Tab reaches.
   * @param {HTMLElement | undefined} node
   */
  stopAt(node) {
    if (!node || node.tabIndex === 0) return;
    for (const other of this.messages()) if (other.tabIndex === 0) other.tabIndex = -1;
    node.tabIndex = 0;
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const node = /** @type {HTMLElement} */ (event.target);
    if (!node.matches?.(".message") || event.ctrlKey || event.metaKey || event.altKey) return;
    const all = this.messages();
    const at = all.indexOf(node);
    /** @type {Record<string, number>} */
    const places = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0 };
    const to = places[event.key];
    if (event.key === "End") {
      event.preventDefault();
      this.jump();
      this.messages().at(-1)?.focus({ preventScroll: true });
    } else if (to !== undefined) {
      event.preventDefault();
      all[to]?.focus();
      all[to]?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Escape") byId("text").focus();
    else if (this.tools.pressed(event.key, node)) event.preventDefault();
  }
}

/** @param {any} target */
const messageOf = (target) => target?.closest?.(".message[data-offset]") ?? null;
