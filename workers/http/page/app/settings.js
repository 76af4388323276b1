/** Owns the menu of what a person chooses for this browser: the language of the page, the login. */
/** @import { App } from "./main.js" */
import { choiceField, openDialog } from "./dialogs.js";
import { byId } from "./dom.js";
import { reasonOf } from "./outbox.js";
import { openMenu } from "./popup.js";
import { chooseLanguage, chosenLanguage, LANGUAGES, pageLanguage, t } from "./words.js";

/** @param {App} app */
export function startSettings(app) {
  const button = byId("settings");
  button.addEventListener("click", () => openMenu(button, t("Settings"), settingItems(app)));
}

/** @param {App} app */
function settingItems(app) {
  const { login } = app;
  const language = t("Language: {language}", { language: LANGUAGES[pageLanguage()] });
  return [
    { icon: "globe", text: language, act: askLanguage },
    { icon: "bell", text: t("Notifications…"), act: () => app.askNotifications() },
    login.canSignIn && { icon: "enter", text: t("Sign in"), act: () => login.go() },
    login.canSignOut && { icon: "leave", text: t("Sign out"), act: () => login.askSignOut() },
  ].filter((item) => item !== false);
}

/** The page begins anew in the language: what was written is kept, what waits to be sent, too. */
function askLanguage() {
  /** @type {[string, string][]} */
  const choices = [["", t("As the browser")], ...Object.entries(LANGUAGES)];
  const [field, choice] = choiceField(t("Language"), choices, chosenLanguage());
  const submit = () => {
    chooseLanguage(choice.value);
    location.reload();
  };
  openDialog({ title: t("Language"), fields: [field], action: t("Save"), submit, reason: reasonOf });
}
