/** Owns the two panels at the sides: columns where there is room, drawers over the page where there is not. */
import { byId, isComposing } from "./dom.js";
import { kept } from "./storage.js";

const NARROW = matchMedia("(width < 45rem)");
const NO_ROOM_FOR_PEOPLE = matchMedia("(width < 68.75rem)");

export class Drawers {
  constructor() {
    this.app = byId("app");
    this.people = !NO_ROOM_FOR_PEOPLE.matches && kept.get("people", false);
    this.direct = false; // two people need no list
    this.sidebar = false; // open as a drawer
    byId("open-sidebar").addEventListener("click", () => this.set({ sidebar: true }));
    byId("close-sidebar").addEventListener("click", () => this.set({ sidebar: false }));
    byId("open-people").addEventListener("click", () => this.togglePeople());
    byId("close-people").addEventListener("click", () => this.togglePeople());
    byId("veil").addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !isComposing(event) && this.isOver) this.close();
    });
    NARROW.addEventListener("change", () => this.set({ sidebar: false }));
    NO_ROOM_FOR_PEOPLE.addEventListener("change", ({ matches }) =>
      this.set({ people: !matches && kept.get("people", false) }),
    );
    this.show();
  }

  /** Whether a drawer covers the page. */
  get isOver() {
    return (this.sidebar && NARROW.matches) || (this.showsPeople && NO_ROOM_FOR_PEOPLE.matches);
  }

  get showsPeople() {
    return this.people && !this.direct;
  }

  /** @param {boolean} direct whether direct messages are shown */
  shown(direct) {
    this.direct = direct;
    this.show();
  }

  togglePeople() {
    if (!NO_ROOM_FOR_PEOPLE.matches) kept.set("people", !this.people);
    this.set({ people: !this.people, sidebar: false });
  }

  close() {
    if (this.isOver) this.set({ sidebar: false, people: this.people && !NO_ROOM_FOR_PEOPLE.matches });
  }

  showSidebar() {
    if (NARROW.matches) this.set({ sidebar: true });
  }

  /**
   * The focus goes into a drawer that opens, and back to its button when it closes.
   * @param {{sidebar?: boolean, people?: boolean}} change
   */
  set(change) {
    const before = { sidebar: this.sidebar, people: this.people };
    const hadFocus =
      byId("sidebar").contains(document.activeElement) || byId("people").contains(document.activeElement);
    Object.assign(this, change);
    this.show();
    for (const name of /** @type {("sidebar" | "people")[]} */ (["sidebar", "people"])) {
      if (this[name] && !before[name] && this.isOver) byId(name).querySelector("button:not([hidden])")?.focus();
      if (!this[name] && before[name] && hadFocus) byId(`open-${name}`).focus();
    }
  }

  show() {
    this.app.classList.toggle("with-people", this.showsPeople);
    byId("open-people").hidden = this.direct;
    this.app.classList.toggle("with-sidebar", this.sidebar);
    byId("open-people").setAttribute("aria-expanded", String(this.showsPeople));
    byId("open-sidebar").setAttribute("aria-expanded", String(this.sidebar));
    byId("veil").hidden = !this.isOver;
    byId("main").inert = this.isOver;
    byId("sidebar").inert = NARROW.matches ? !this.sidebar : this.isOver;
  }
}
