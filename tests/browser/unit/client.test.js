/** The pure parts of the client: when it comes back, what it sends, what it shows. */
import assert from "node:assert/strict";
import test from "node:test";
import { DROP, Place, RESUME, SHOW, SHOW_AFTER_HOLE } from "../chat/places.js";
import { LOST, ReconnectPolicy, UNAUTHORIZED } from "../chat/reconnect.js";
import { Requests } from "../chat/requests.js";

const lost = (more = {}) => ({ code: LOST, reason: "", answered: false, ...more });

test("failures in a row are waited for longer and longer, up to half a minute", () => {
  const reconnect = new ReconnectPolicy(() => 1, true);
  const delays = Array.from({ length: 9 }, () => reconnect.after(lost()));
  assert.deepEqual(delays, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  assert.equal(reconnect.after(lost({ answered: true })), 500);
});

test("what the server asks for is waited for, and who was refused for good stays away", () => {
  const reconnect = new ReconnectPolicy(() => 1, true);
  assert.equal(reconnect.after(lost({ code: 1012, retryAfter: 777 })), 777);
  for (const code of [1000, 1009, 4003]) assert.equal(reconnect.after(lost({ code })), null);
});

test("a refused token is renewed once, where it can be", () => {
  const refused = lost({ code: UNAUTHORIZED });
  assert.equal(new ReconnectPolicy(() => 0, false).after(refused), null);
  const reconnect = new ReconnectPolicy(() => 0, true);
  assert.equal(reconnect.after(refused), 0);
  assert.equal(reconnect.after(refused), null);
});

test("each entry is shown once; a hole is gone back for once", () => {
  const place = new Place();
  place.entered("e", 10);
  assert.equal(place.judge("e", 11), SHOW);
  assert.equal(place.judge("e", 11), DROP);
  assert.equal(place.judge("e", 14), RESUME);
  assert.equal(place.judge("e", 14), SHOW_AFTER_HOLE);
  assert.deepEqual(place.position, { epoch: "e", offset: 14 });
});

test("requests of one room go one after the other, those of others meanwhile", () => {
  const requests = new Requests("k-", 10);
  const [first, second, other] = ["a", "a", "b"].map((room) => requests.add("say", { room, text: "x" }));
  assert.deepEqual(requests.next(0).send, [first, other]);
  first.sent = true;
  other.sent = true;
  requests.take(first.id);
  assert.deepEqual(requests.next(0).send, [second]);
});

test("what may have been done is not sent again once its key may be forgotten", () => {
  const requests = new Requests("k-", 10);
  const request = requests.add("say", { room: "a", text: "x" });
  Object.assign(request, { firstSent: 1, sent: false });
  assert.deepEqual(requests.next(500_000).expired, []);
  assert.deepEqual(requests.next(600_000).expired, [request]);
});

test("the queue has an end, and a text that is too long never leaves", () => {
  const requests = new Requests("k-", 1);
  requests.messageSize = 10;
  assert.throws(() => requests.add("say", { room: "a", text: "é".repeat(6) }), { code: "too_large", field: "text" });
  assert.throws(() => requests.add("say", { room: "a", text: 7 }), { code: "bad_request" });
  requests.add("join", { room: "a" });
  assert.throws(() => requests.add("join", { room: "b" }), { code: "queue_full" });
});
