/** Owns the questions about a login: whether one that came is meant, that one is needed, whether to sign out. */
/** @import { Login } from "./login.js" */
import { openDialog } from "./dialogs.js";
import { reasonOf } from "./outbox.js";
import { claimsOf, keptToken } from "./signin.js";
import { t } from "./words.js";

/**
 * @param {Login} login
 * @param {string} token
 * @param {boolean} isOther than who is signed in
 */
export function askChange(login, token, isOther) {
  const { name, sub = "" } = claimsOf(token);
  openDialog({
    title: isOther ? t("Sign in as somebody else?") : t("Sign in as {name}?", { name: name ?? sub }),
    text: isOther
      ? t("The link that you opened would sign you in as another user than now.")
      : t("The link that you opened would sign you in."),
    fields: [],
    action: t("Sign in"),
    submit: () => {
      login.take(token);
      location.reload();
    },
    reason: reasonOf,
  });
}

/**
 * @param {Login} asked
 * @param {string} why
 */
export function askLogin(asked, why) {
  if (document.querySelector("dialog.ask-login")) return;
  const { login } = asked.urls;
  const forget = !login && keptToken() !== "";
  const how = login ? "" : t("Open the chat from the site that it belongs to: that signs you in.");
  const confirm = openDialog({
    title: t("You have to sign in"),
    text: [why, how].filter(Boolean).join(" "),
    fields: [],
    action: login ? t("Sign in") : forget ? t("Sign out") : t("Try again"),
    submit: () => (login ? asked.go() : forget ? asked.signOut() : asked.app.chat.open()),
    reason: reasonOf,
  });
  confirm.closest("dialog").classList.add("ask-login");
}

/** @param {Login} login */
export function askToEnd(login) {
  openDialog({
    title: t("Sign out?"),
    text: t("In all tabs of this browser. Drafts and unsent messages here are deleted."),
    fields: [],
    action: t("Sign out"),
    submit: () => login.signOut(),
    reason: reasonOf,
  });
}
