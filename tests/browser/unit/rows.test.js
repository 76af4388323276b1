/** What the timeline shows of a conversation, and where it is in the address. */
import assert from "node:assert/strict";
import test from "node:test";
import { hashOf, placeIn } from "../app/address.js";
import { Conversation } from "../app/conversation.js";
import { rowsOf } from "../app/rows.js";

const NOON = new Date(2026, 5, 15, 12).getTime();
const MINUTE = 60_000;
const context = { me: "me", now: NOON, nameOf: (/** @type {string} */ user) => user };

/** A room that is loaded, with these messages. */
function room(...entries) {
  const conversation = new Conversation("lobby");
  Object.assign(conversation, { joined: true, loaded: true, more: false });
  for (const entry of entries) conversation.put(entry);
  return conversation;
}
const said = (offset, user, more = {}) => ({
  type: "message",
  room: "lobby",
  epoch: "e",
  offset,
  time: NOON + offset * MINUTE,
  from: { user, name: user },
  text: `text ${offset}`,
  ...more,
});
const kinds = (rows) => rows.map(({ kind }) => kind);

test("messages of one author within five minutes stand under one name", () => {
  const rows = rowsOf(room(said(1, "ada"), said(2, "ada"), said(3, "bob"), said(9, "bob")), context);
  assert.deepEqual(
    rows.filter(({ kind }) => kind === "message").map(({ first }) => first),
    [true, false, true, true],
  );
});

test("an answer has its author's name, although the same one spoke before", () => {
  const rows = rowsOf(room(said(1, "ada"), said(2, "ada", { reply_to: 1 })), context);
  assert.equal(rows.at(-1).first, true);
});

test("each day has a line, and so has what is new, before the first message of somebody else", () => {
  const conversation = room(said(1, "ada"), said(2, "me"), said(3, "ada", { time: NOON + 24 * 60 * MINUTE }));
  conversation.newAfter = 1;
  assert.deepEqual(kinds(rowsOf(conversation, context)), [
    "start",
    "day",
    "message",
    "message",
    "day",
    "new",
    "message",
  ]);
});

test("what is lost is said in its place", () => {
  const conversation = room(said(1, "ada"), said(5, "ada"));
  conversation.lose(2, 4);
  const rows = rowsOf(conversation, context);
  assert.deepEqual(kinds(rows), ["start", "day", "message", "lost", "message"]);
  assert.equal(rows[3].text, "3 messages could not be recovered");
});

test("a message whose time is no time costs no other one", () => {
  const rows = rowsOf(room(said(1, "ada", { time: 1e300 }), said(2, "ada")), context);
  assert.deepEqual(kinds(rows), ["start", "fault", "day", "message"]);
});

test("a row depends on what changes it, and on nothing else", () => {
  const conversation = room(said(1, "ada"), said(2, "bob"));
  const before = rowsOf(conversation, context);
  conversation.change({ ...said(3, "bob"), type: "reacted", target: 1, emoji: "👍" });
  const after = rowsOf(conversation, context);
  const changed = after.filter((row, place) => row.depends !== before[place].depends).map(({ key }) => key);
  assert.deepEqual(changed, ["0 1"]);
});

test("a reader's mark stands at the last message that they have read", () => {
  const conversation = room(said(1, "ada"), said(2, "ada"), said(4, "ada"));
  conversation.readers.set("bob", 3);
  const rows = rowsOf(conversation, context).filter(({ kind }) => kind === "message");
  assert.deepEqual(
    rows.map(({ readers }) => readers),
    [[], ["bob"], []],
  );
});

test("an address names a conversation and a message, whatever its letters", () => {
  for (const [id, offset] of [
    ["lobby", null],
    ["Küche", 17],
    ["@guest:1", 3],
    ["会議室", null],
  ]) {
    assert.deepEqual(placeIn(hashOf(id, offset)), { id, offset });
  }
  assert.deepEqual(placeIn("#%E0%A4%A"), { id: "", offset: null });
  assert.deepEqual(placeIn("#Ku%CC%88che"), { id: "Küche", offset: null });
});
