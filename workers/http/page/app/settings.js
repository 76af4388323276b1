/** Owns the menu of what a person chooses for this browser: the language of the page, the login. */
/** @import { App } from "./main.js" */
import { byId } from "./dom.js";
import { askLanguage } from "./language.js";
import { openMenu } from "./popup.js";
import { markRead } from "./room_menu.js";
import { openShortcuts } from "./shortcuts.js";
import { LANGUAGES, pageLanguage, t } from "./words.js";

/** @param {App} app */
export function openSettings(app) {
  openMenu(byId("settings"), t("Settings"), settingItems(app));
}

/** @param {App} app */
function settingItems(app) {
  const { login } = app;
  const language = t("Language: {language}", { language: LANGUAGES[pageLanguage()] });
  return [
    { icon: "globe", text: language, act: () => askLanguage() },
    { icon: "bell", text: t("Notifications…"), act: () => app.askNotifications() },
    { icon: "keys", text: t("Keyboard shortcuts"), act: openShortcuts },
    { icon: "checks", text: t("Mark everything as read"), act: () => markRead(app) },
    login.canSignIn && { icon: "enter", text: t("Sign in"), act: () => login.go() },
    login.canSignOut && { icon: "leave", text: t("Sign out"), act: () => login.askSignOut() },
  ].filter((item) => item !== false);
}
