/** Owns the questions that the page asks in a dialog: a text, a yes, a moderator's decision. */
import { el, isComposing } from "./dom.js";
import { t } from "./words.js";

/**
 * Show a form in a modal dialog until `submit` has succeeded or the person has thought better of it.
 * @param {{title: string, text?: string, fields: any[], action: string, danger?: boolean,
 *   submit: () => void | Promise<unknown>, reason: (error: any) => string, done?: () => void}} options
 * @returns {any} the button that submits
 */
export function openDialog({ title, text, fields, action, danger, submit, reason, done }) {
  const complaint = el("p", { class: "field-error", role: "alert" });
  const confirm = el("button", {
    type: "submit",
    class: danger ? "button primary danger" : "button primary",
    text: action,
  });
  const cancel = el("button", {
    type: "button",
    class: "button",
    text: t("Cancel"),
    on: { click: () => dialog.close() },
  });
  const heading = el("h2", { id: "dialog-title", text: title, dir: "auto" });
  const form = el("form", {}, heading, text && el("p", { text, dir: "auto" }), ...fields, complaint);
  form.append(el("div", { class: "buttons" }, cancel, confirm));
  const dialog = el("dialog", { "aria-labelledby": "dialog-title" }, form);
  form.addEventListener("submit", async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    confirm.disabled = true;
    try {
      await submit();
      dialog.close(); // the focus goes back to where it was
      done?.();
    } catch (error) {
      complaint.textContent = reason(error);
      confirm.disabled = false;
    }
  });
  form.addEventListener(
    "keydown",
    (/** @type {KeyboardEvent} */ event) => isEnding(event) && isComposing(event) && event.preventDefault(),
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (/** @type {MouseEvent} */ event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return confirm;
}

/** @param {KeyboardEvent} event */
const isEnding = ({ key }) => key === "Enter" || key === "Escape";

/**
 * Whether a text is as long as it may be, in characters; said in words, since a box that takes no more loses what is pasted.
 * @param {string} text
 * @param {number} most
 */
export function checkLength(text, most) {
  const size = [...text].length;
  if (size > most) throw new Error(t("This is too long: {size} characters, and {most} are allowed", { size, most }));
}

/**
 * A labelled input. @returns {[any, any]} the field and its input
 * @param {string} label
 * @param {Record<string, any>} [props]
 */
export function textField(label, props = {}) {
  const input = el("input", { type: "text", dir: "auto", autocomplete: "off", ...props });
  return [el("label", { class: "field" }, label, input), input];
}

/**
 * A labelled choice. @returns {[any, any]} the field and its select
 * @param {string} label
 * @param {[string, string][]} choices
 * @param {string} chosen
 */
export function choiceField(label, choices, chosen) {
  const options = choices.map(([value, text]) => el("option", { value, text, selected: value === chosen }));
  const select = el("select", {}, ...options);
  return [el("label", { class: "field" }, label, select), select];
}
