/**
 * Owns the list that offers people after an @: a listbox whose active option the text names, while the focus stays in the
 * text. A textarea may not be called a combobox (ARIA in HTML, 4).
 */
/** @import { App } from "./main.js" */
import { avatar, bdi, byId, el, insertText } from "./dom.js";

const MOST = 6;
// A name may begin with any character that can be seen, and have one space in what is typed of it.
const BEFORE_CARET = /(?:^|[^\p{L}\p{N}_@])@([^\s@]*(?: [^\s@]+)?)$/u;
/** @type {Record<string, number>} */
const STEPS = { ArrowDown: 1, ArrowUp: -1 };
/** @typedef {{user: string, name: string, everyone?: boolean}} Offered */

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
    this.dismissed = false; // by Escape, until something is typed
    text.addEventListener("input", () => {
      this.dismissed = false;
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
    if (!this.dismissed && document.activeElement === this.text) this.look();
  }

  look() {
    const caret = this.text.selectionStart;
    const match = this.text.value.slice(Math.max(0, caret - LOOKED_AT), caret).match(BEFORE_CARET);
    const before = this.found[this.chosen]?.user;
    this.found = match ? this.fitting(match[1].toLocaleLowerCase()) : [];
    this.begun = match ? caret - match[1].length : 0;
    this.chosen = Math.max(
      0,
      this.found.findIndex(({ user }) => user === before),
    );
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

  show() {
    const open = this.found.length > 0;
    this.list.hidden = !open;
    if (open) this.text.setAttribute("aria-activedescendant", `suggestion-${this.chosen}`);
    else this.text.removeAttribute("aria-activedescendant");
    this.list.replaceChildren(...this.found.map((one, place) => this.option(one, place)));
  }

  /**
   * @param {Offered} offered
   * @param {number} place
   */
  option({ user, name, everyone }, place) {
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
      avatar(user, everyone ? "@" : name, "small"),
      bdi(name),
      everyone && el("span", { class: "hint", text: "everyone here" }),
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
    const { name } = this.found[this.chosen];
    this.text.setSelectionRange(this.begun, this.text.selectionStart);
    this.close();
    insertText(this.text, `${name} `);
  }

  close() {
    this.found = [];
    this.show();
  }
}
