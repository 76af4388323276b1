/**
 * Owns the page's side of its service worker, see shell/sw.js: with it the page opens without a network, and a press on a
 * notification leads here. The page works without.
 */
/** @import { App } from "./main.js" */
import { loadWhenIdle } from "./part.js";

/** @param {App} app */
export function startShell(app) {
  const worker = navigator.serviceWorker;
  if (!worker) return; // the page came over plain HTTP from another machine
  worker.addEventListener("message", ({ data }) => {
    if (typeof data?.open === "string") app.open(data.open);
  });
  worker.startMessages();
  loadWhenIdle(() => worker.register("./sw.js", { updateViaCache: "none" }));
}
