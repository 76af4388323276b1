/** Owns the question for the language of the page. */
import { choiceField, openDialog } from "./dialogs.js";
import { reasonOf } from "./outbox.js";
import { chooseLanguage, chosenLanguage, LANGUAGES, t } from "./words.js";

/** The page begins anew in the language: what was written is kept, what waits to be sent, too. */
export function askLanguage() {
  /** @type {[string, string][]} */
  const choices = [["", t("As the browser")], ...Object.entries(LANGUAGES)];
  const [field, choice] = choiceField(t("Language"), choices, chosenLanguage());
  const submit = () => {
    chooseLanguage(choice.value);
    location.reload();
  };
  openDialog({ title: t("Language"), fields: [field], action: t("Save"), submit, reason: reasonOf });
}
