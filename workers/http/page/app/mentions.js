/**
 * Owns the list that offers people after an @ and emoji after a colon: a listbox whose active option the text names, while the focus stays in the
 * text. A textarea may not be called a combobox (ARIA in HTML, 4).
 */
/** @import { App } from "./main.js" */
import { avatar, bdi, byId, el, insertText } from "./dom.js";
import { t } from "./words.js";

const MOST = 6;
// A name may begin with any character that can be seen, and have one space in what is typed of it.
const BEFORE_CARET = /(?:^|[^\p{L}\p{N}_@])@([^\s@]*(?: [^\s@]+)?)$/u;
/** @type {Record<string, number>} */
const STEPS = { ArrowDown: 1, ArrowUp: -1 };
/** @typedef {{user: string, name: string, everyone?: boolean, emoji?: string}} Offered `emoji`: instead of a person */

const CODE_BEFORE_CARET = /(?:^|[\s(])(:[a-z0-9_+-]{2,32}:?)$/i;
const MOST_OFFERED = 6;
const LOOKED_AT = 80; // characters before the caret

export class Mentions {
  /**
   * @param {any} text the textarea
   * @param {App} app
   */
  constructor(text, app) {
    this.text = text;
    this.app = app;
    this.list = byId("suggestions");
    /** @type {Offered[]} */
    this.found = [];
    this.chosen = 0;
    this.begun = 0; // where the name begins, after the @
    this.composing = false; // an input method has the text
    this.dismissed = false; // by Escape, until something is typed
    text.addEventListener("input", (/** @type {InputEvent} */ event) => {
      this.dismissed = false;
      this.composing = event.isComposing;
      this.look();
    });
    text.addEventListener("compositionend", () => {
      this.composing = false;
      this.look();
    });
    text.addEventListener("blur", () => this.close());
    this.list.addEventListener("pointerdown", (/** @type {any} */ event) => this.clicked(event));
  }

  dismiss() {
    this.dismissed = true;
    this.close();
  }

  /** Others are here than before. */
  peopleChanged() {
    if (!this.dismissed && !this.found[0]?.emoji && document.activeElement === this.text) this.look();
  }

  look() {
    const caret = this.text.selectionStart;
    const written = this.text.value.slice(Math.max(0, caret - LOOKED_AT), caret);
    const person = BEFORE_CARET.exec(written);
    const code = person ? null : CODE_BEFORE_CARET.exec(written);
    const before = this.found[this.chosen]?.name;
    this.found = person ? this.fitting(person[1].toLocaleLowerCase()) : [];
    this.begun = caret - (person?.[1].length ?? code?.[1].length ?? 0);
    this.show(before);
    if (code) this.lookForEmoji(code[1], written).catch(() => {}); // without the list a code stays what was typed
  }

  /**
   * Those that `:name` may mean; a whole `:name:` becomes its emoji.
   * @param {string} code with its colons
   * @param {string} written before the caret
   */
  async lookForEmoji(code, written) {
    const { loadEmoji, toned } = await import("./emoji.js");
    const { findEmoji } = await import("./find_emoji.js");
    const groups = await loadEmoji();
    const caret = this.text.selectionStart;
    if (!this.text.value.slice(0, caret).endsWith(written) || document.activeElement !== this.text) return;
    const all = groups.flatMap(({ emoji }) => emoji);
    const exact = code.endsWith(":") && all.find(({ codes }) => codes.includes(code.slice(1, -1).toLowerCase()));
    this.begun = caret - code.length;
    const fitting = code.endsWith(":") ? [] : findEmoji(all, code, MOST_OFFERED);
    this.found = fitting.map((one) => ({ user: one.character, name: `:${one.codes[0]}:`, emoji: toned(one) }));
    if (exact && !this.composing) this.put(toned(exact));
    this.show();
  }

  /** @param {string} wanted */
  fitting(wanted) {
    const { model } = this.app;
    const conversation = model.current;
    if (!conversation || conversation.direct) return [];
    const people = [...conversation.members.values()].filter(({ user }) => user !== model.me);
    const everyone = { user: "@room", name: "room", everyone: true };
    const fits = (/** @type {Offered} */ { name }) =>
      name
        .toLocaleLowerCase()
        .split(/\s+/)
        .some((word) => word.startsWith(wanted)) || name.toLocaleLowerCase().startsWith(wanted);
    return [...people.sort((a, b) => a.name.localeCompare(b.name)), everyone].filter(fits).slice(0, MOST);
  }

  /** @param {string} [before] what was chosen */
  show(before) {
    if (before !== undefined)
      this.chosen = Math.max(
        0,
        this.found.findIndex(({ name }) => name === before),
      );
    else this.chosen = Math.min(this.chosen, Math.max(0, this.found.length - 1));
    const open = this.found.length > 0;
    this.list.hidden = !open;
    if (open) this.text.setAttribute("aria-activedescendant", `suggestion-${this.chosen}`);
    else this.text.removeAttribute("aria-activedescendant");
    this.list.replaceChildren(...this.found.map((one, place) => this.option(one, place)));
    this.list.children[this.chosen]?.scrollIntoView({ block: "nearest" });
  }

  /**
   * @param {Offered} offered
   * @param {number} place
   */
  option({ user, name, everyone, emoji }, place) {
    const props = {
      id: `suggestion-${place}`,
      class: "suggestion",
      role: "option",
      "aria-selected": String(place === this.chosen),
      data: { place },
    };
    return el(
      "li",
      props,
      emoji ? el("span", { class: "suggestion-emoji", text: emoji }) : avatar(user, everyone ? "@" : name, "small"),
      bdi(name),
      everyone && el("span", { class: "hint", text: t("everyone here") }),
    );
  }

  /**
   * A key in the text. Returns whether it was for the list.
   * @param {KeyboardEvent} event
   */
  pressed(event) {
    if (!this.found.length) return false;
    const step = STEPS[event.key];
    if (step) {
      this.chosen = (this.chosen + step + this.found.length) % this.found.length;
      this.show();
    } else if ((event.key === "Enter" && !event.shiftKey) || event.key === "Tab") this.take();
    else if (event.key === "Escape") this.dismiss();
    else return false;
    event.preventDefault();
    return true;
  }

  /** @param {any} event */
  clicked(event) {
    const option = event.target.closest(".suggestion");
    if (!option) return;
    event.preventDefault(); // the focus stays
    this.chosen = Number(option.dataset.place);
    this.take();
  }

  take() {
    const { name, emoji } = this.found[this.chosen];
    this.put(emoji ?? `${name} `);
  }

  /**
   * In place of what was typed of it.
   * @param {string} words
   */
  put(words) {
    this.text.setSelectionRange(this.begun, this.text.selectionStart);
    this.close();
    insertText(this.text, words);
  }

  close() {
    this.found = [];
    this.show();
  }
}
