/**
 * Owns the list of messages on the page: which rows are drawn again, where it is scrolled to, when older ones are asked
 * for, and moving through it by keys.
 *
 * It keeps to the end while the reader is there, and keeps what the reader looks at in its place while rows come above.
 */
import { byId, onceAFrame, replaceChildren } from "./dom.js";
import { nodeOf } from "./message.js";
import { rowsOf } from "./rows.js";
import { Tools } from "./tools.js";

const NEAR_END = 60; // px
const NEAR_START = 800;
const MOST_PAGES = 20; // to look for a message that is answered

export class Timeline {
  /** @param {any} app see main.js */
  constructor(app) {
    this.app = app;
    this.scroller = byId("scroll");
    this.list = byId("timeline");
    this.tools = new Tools(app);
    /** @type {Map<string, {depends: string, node: any}>} */
    this.drawn = new Map();
    this.atEnd = true;
    this.toPlace = false; // the next drawing decides where to begin
    this.draw = onceAFrame(() => this.render());
    this.listen();
  }

  listen() {
    this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    new ResizeObserver(() => this.atEnd && this.toEnd()).observe(this.scroller);
    byId("jump").addEventListener("click", () => this.toEnd(true));
    this.list.addEventListener(
      "pointerover",
      (event) => event.pointerType === "mouse" && this.tools.show(messageOf(event.target)),
    );
    this.list.addEventListener("click", (event) => this.tools.show(messageOf(event.target)));
    this.list.addEventListener("focusin", (event) => this.focused(messageOf(event.target)));
    this.list.addEventListener("keydown", (event) => this.pressed(event));
    this.scroller.addEventListener(
      "pointerleave",
      () => !this.list.contains(document.activeElement) && this.tools.hide(),
    );
  }

  /** Another conversation. */
  show() {
    this.tools.hide();
    this.drawn.clear();
    this.list.replaceChildren();
    this.atEnd = true;
    this.toPlace = true;
    this.render();
  }

  // ---- drawing -------------------------------------------------------------------------------------

  render() {
    const conversation = this.app.model.current;
    if (!conversation) return;
    if (this.atEnd && !this.toPlace) this.app.model.trim(conversation);
    const { me } = this.app.model;
    const rows = rowsOf(conversation, { me, now: Date.now(), nameOf: (user) => this.app.model.nameOf(user) });
    const held = this.atEnd ? null : this.hold();
    const focused = keyOf(document.activeElement);
    replaceChildren(this.list, this.nodesOf(rows, conversation));
    this.keepTabStop(focused);
    if (this.toPlace && conversation.loaded) this.begin();
    else if (held) this.release(held);
    else this.toEnd();
    this.showJump();
    this.fill();
  }

  nodesOf(rows, conversation) {
    const before = this.drawn;
    this.drawn = new Map();
    return rows.map((row) => {
      const known = before.get(row.key);
      const node = known && known.depends === row.depends ? known.node : nodeOf(row, conversation, this.app);
      node.dataset.row = row.key;
      this.drawn.set(row.key, { depends: row.depends, node });
      return node;
    });
  }

  /** Where to begin: at the first new message, if they do not all fit, else at the end. */
  begin() {
    this.toPlace = false;
    this.toEnd();
    const line = this.drawn.get("new")?.node;
    if (line && line.offsetTop < this.scroller.scrollTop) {
      this.scroller.scrollTop = line.offsetTop - this.scroller.clientHeight / 4;
      this.atEnd = false;
    }
  }

  /** The first row that can be seen, and where it is. */
  hold() {
    const top = this.scroller.getBoundingClientRect().top;
    const seen = (node) => node.dataset.offset && node.getBoundingClientRect().bottom > top;
    const node = [...this.list.children].find(seen);
    return node ? { key: node.dataset.row, at: node.getBoundingClientRect().top } : null;
  }

  release({ key, at }) {
    const node = this.drawn.get(key)?.node;
    if (node) this.scroller.scrollTop += node.getBoundingClientRect().top - at;
  }

  /** A row that was drawn again loses the focus and the bar; give both back. */
  keepTabStop(focused) {
    const node = focused && this.drawn.get(focused)?.node;
    if (node && !node.contains(document.activeElement) && node.matches(".message")) node.focus({ preventScroll: true });
    if (!this.list.contains(document.activeElement)) this.stopAt(this.messages().at(-1));
    if (this.tools.on && !this.tools.on.isConnected)
      this.tools.show(this.drawn.get(this.tools.on.dataset.row)?.node ?? null);
  }

  // ---- scrolling -----------------------------------------------------------------------------------

  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    this.atEnd = scrollHeight - scrollTop - clientHeight < NEAR_END;
    this.showJump();
    this.fill();
    if (this.atEnd) this.app.looked();
  }

  toEnd(smooth = false) {
    this.atEnd = true;
    this.scroller.scrollTo({
      top: this.scroller.scrollHeight,
      behavior: smooth && !reducedMotion() ? "smooth" : "instant",
    });
    this.app.looked();
  }

  /** Ask for older messages before the reader gets to the first one. */
  fill() {
    const conversation = this.app.model.current;
    if (
      conversation?.loaded &&
      conversation.more &&
      !conversation.stuck &&
      !conversation.loading &&
      !this.toPlace &&
      this.scroller.scrollTop < NEAR_START
    ) {
      this.app.loader.older(conversation);
    }
  }

  showJump() {
    const conversation = this.app.model.current;
    const unread = conversation?.unread ?? 0;
    byId("jump").hidden = this.atEnd;
    byId("jump").classList.toggle("unread", unread > 0);
    byId("jump-text").textContent = unread ? `${unread} new` : "Latest";
  }

  /** Show the message at an offset, loading what is needed. */
  async find(offset) {
    const conversation = this.app.model.current;
    this.atEnd = false; // what is loaded here stays
    for (let pages = 0; pages < MOST_PAGES && !conversation.byOffset.has(offset) && conversation.more; pages += 1) {
      await this.app.loader.older(conversation);
    }
    this.render();
    const node = this.drawn.get(`${conversation.segment} ${offset}`)?.node;
    if (!node || conversation !== this.app.model.current) {
      this.app.toast("That message is not kept any more");
      this.scrolled();
      return;
    }
    node.scrollIntoView({ block: "center", behavior: reducedMotion() ? "instant" : "smooth" });
    node.classList.remove("found");
    requestAnimationFrame(() => node.classList.add("found"));
    node.focus({ preventScroll: true });
  }

  // ---- moving by keys ------------------------------------------------------------------------------

  messages() {
    return [...this.list.querySelectorAll(".message[data-offset]")];
  }

  /** @returns {import("./conversation.js").Message | undefined} */
  messageAt(node) {
    const conversation = this.app.model.current;
    if (!conversation || Number(node.dataset.segment) !== conversation.segment) return undefined;
    return conversation.byOffset.get(Number(node.dataset.offset));
  }

  focused(node) {
    if (!node) return;
    this.stopAt(node);
    this.tools.show(node);
  }

  /** The one message that Tab reaches. */
  stopAt(node) {
    if (!node || node.tabIndex === 0) return;
    for (const other of this.list.querySelectorAll('.message[tabindex="0"]')) other.tabIndex = -1;
    node.tabIndex = 0;
  }

  pressed(event) {
    const node = event.target;
    if (!node.matches?.(".message") || event.ctrlKey || event.metaKey || event.altKey) return;
    const all = this.messages();
    const at = all.indexOf(node);
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: all.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      all[to]?.focus();
      all[to]?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Escape") byId("text").focus();
    else if (this.tools.pressed(event.key, node)) event.preventDefault();
  }
}

const messageOf = (target) => target?.closest?.(".message[data-offset]") ?? null;
const keyOf = (target) => target?.closest?.("[data-row]")?.dataset.row ?? null;
const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
