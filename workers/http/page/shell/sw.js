/**
 * The page's service worker: the page opens without a network, and notifications come while it is closed.
 *
 * The network always wins: what was kept is only given where there is no answer, so that an upgrade of the server is seen
 * at the next load. Nothing but the page and its own files is kept; the WebSocket and all other paths do not pass here.
 */
const SHELL = "chatmaster-shell-1";
const MOST = 40; // files; those that came first go first
const FILES = /^(assets\/[\w.-]+|words\/[\w-]+\.json|emoji\.js|highlight\.js|icon-\d+\.png|manifest\.webmanifest)$/;
const SCOPE = new URL(self.registration.scope);
const LONGEST = 500; // characters of a notification

self.addEventListener("install", () => self.skipWaiting());

self.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) if (name !== SHELL) await caches.delete(name);
      await self.registration.navigationPreload?.enable();
      await self.clients.claim();
    })(),
  );
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== SCOPE.origin || !url.pathname.startsWith(SCOPE.pathname)) return;
  const path = url.pathname.slice(SCOPE.pathname.length);
  const isPage = request.mode === "navigate" && path === "";
  if (isPage || FILES.test(path)) event.respondWith(fromNetwork(event, isPage ? SCOPE.href : request.url, isPage));
});

/** The answer of the network, which is kept under `key`; without one, what was kept. */
async function fromNetwork(event, key, isPage) {
  try {
    const answer = (isPage && (await event.preloadResponse)) || (await fetch(event.request));
    if (isOwn(answer, isPage)) event.waitUntil(keep(key, answer.clone()));
    return answer;
  } catch (error) {
    const kept = await (await caches.open(SHELL)).match(key);
    if (kept) return kept;
    throw error;
  }
}

/** A proxy's own page, as of a portal that wants a login, is not kept: it lacks the policy that the server sends. */
function isOwn(answer, isPage) {
  if (answer.status !== 200 || answer.redirected || answer.type !== "basic") return false;
  return !isPage || (answer.headers.get("Content-Security-Policy") ?? "").includes("script-src");
}

async function keep(key, answer) {
  const shell = await caches.open(SHELL);
  await shell.delete(key); // so that the keys are in the order of the last use
  await shell.put(key, answer);
  const keys = await shell.keys();
  for (const old of keys.slice(0, Math.max(0, keys.length - MOST))) if (old.url !== SCOPE.href) await shell.delete(old);
}

// ---- notifications ---------------------------------------------------------------------------------

self.addEventListener("push", (event) => event.waitUntil(show(event.data)));

async function show(data) {
  let told;
  try {
    told = data.json();
  } catch {
    return;
  }
  const windows = await self.clients.matchAll({ type: "window" });
  if (windows.some(({ focused }) => focused)) return; // the page shows it
  const { title, body, place } = told;
  await self.registration.showNotification(String(title).slice(0, LONGEST), {
    body: String(body).slice(0, LONGEST),
    tag: String(place),
    data: { place: String(place) },
    icon: "icon-192.png",
  });
  await self.navigator.setAppBadge?.().catch(() => {});
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data?.place ?? ""));
});

/** An open page goes there; otherwise one is opened. */
async function open(place) {
  const windows = await self.clients.matchAll({ type: "window" });
  const page = windows.find(({ url }) => url.split("#")[0] === SCOPE.href);
  if (page) {
    page.postMessage({ open: place });
    await page.focus();
  } else {
    await self.clients.openWindow(`${SCOPE.href}#${encodeURIComponent(place)}`);
  }
}
