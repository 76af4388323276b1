/** Owns what is said where the server answers, but lets no connection through: most likely to whoever runs it. */
import { byId, el } from "./dom.js";
import { t } from "./words.js";

export function explainTrouble() {
  const causes = [
    t("A proxy before the server has to pass on the headers Upgrade and Connection, and Host with its port."),
    t("The setting http.origins has to allow the address of this page, if that is not the server’s own."),
  ];
  byId("trouble").replaceChildren(
    el("p", {
      text: t("The server answers, but no WebSocket connection reaches it. Whoever runs it should look at these:"),
    }),
    el("ul", {}, ...causes.map((text) => el("li", { text }))),
  );
}
