/**
 * Owns this browser's subscription to Web Push: the server has it while notifications are on, with the rooms whose mentions
 * are wanted. Where the browser has no push service, notifications come while the page is open.
 */
/** @import { App } from "./main.js" */
import { quietUntil, silentOnes } from "./levels.js";
import { kept } from "./storage.js";

const MOST_TOLD = 100; // names of a list in a request

/**
 * @param {App} app
 * @param {string} key the server's
 * @param {boolean} wanted
 */
export async function syncPush({ chat, model }, key, wanted) {
  const worker = await navigator.serviceWorker?.ready;
  if (!worker?.pushManager) return;
  let subscription = await worker.pushManager.getSubscription();
  if (subscription && (!wanted || keyOf(subscription) !== key)) {
    await chat.unsubscribe(subscription.endpoint);
    await subscription.unsubscribe();
    subscription = null;
  }
  kept.set("pushed", wanted || null);
  if (!wanted) return;
  subscription ??= await worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  const { endpoint = "", keys: { p256dh = "", auth = "" } = {} } = subscription.toJSON();
  const silent = silentOnes();
  const joined = [...model.conversations.values()].filter((one) => !one.direct && one.joined).map(({ id }) => id);
  await chat.subscribe({
    endpoint,
    p256dh,
    auth,
    rooms: joined.filter((id) => !silent.includes(id)).slice(0, MOST_TOLD),
    silent: silent
      .filter((id) => id.startsWith("@"))
      .map((id) => id.slice(1))
      .slice(0, MOST_TOLD),
    quiet_until: Math.min(quietUntil(), Number.MAX_SAFE_INTEGER),
  });
}

/** @param {PushSubscription} subscription */
function keyOf({ options: { applicationServerKey: key } }) {
  if (!key) return "";
  const bytes = String.fromCharCode(...new Uint8Array(key));
  return btoa(bytes).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/** Nobody is told here any more: the next person at this browser is another one. */
export async function endPush() {
  const worker = await navigator.serviceWorker?.getRegistration();
  const subscription = await worker?.pushManager?.getSubscription();
  await subscription?.unsubscribe();
}
