/** What counts as unread, and how long a text may be. */
import assert from "node:assert/strict";
import test from "node:test";
import { Model } from "../app/model.js";
import { tooLong } from "../app/size.js";

/** A model that is in two rooms and looks at the other one. */
function away() {
  const model = new Model(
    () => {},
    () => {},
  );
  const state = (room) => ({ room, epoch: "e", offset: 10, unread: 0, read: 10 });
  model.welcome({
    user: "me",
    name: "Me",
    role: "user",
    limits: {},
    rooms: [state("lobby"), state("garden"), state("@me")],
  });
  model.current = model.conversation("garden");
  return model;
}
const said = (offset, user, more = {}) => ({
  type: "message",
  room: "lobby",
  offset,
  time: 1,
  from: { user, name: user },
  text: "x",
  ...more,
});
const deleted = (offset, target, user) => ({
  type: "deleted",
  room: "lobby",
  offset,
  target,
  time: 1,
  from: { user, name: user },
});

test("one's own messages from another device are not unread, nor are deleted ones", () => {
  const model = away();
  const lobby = model.conversation("lobby");
  model.message(said(11, "me"));
  assert.equal(lobby.unread, 0);
  model.message(said(12, "ada", { mentions: ["me"] }));
  model.message(said(13, "ada"));
  assert.deepEqual([lobby.unread, lobby.mentioned], [2, true]);
  model.changedMessage(deleted(14, 11, "me"));
  model.changedMessage(deleted(15, 13, "ada"));
  model.changedMessage(deleted(16, 13, "ada"));
  assert.equal(lobby.unread, 1);
  model.changedMessage(deleted(17, 12, "ada"));
  assert.deepEqual([lobby.unread, lobby.mentioned], [0, false]);
});

test("what the server counted is taken down when it is deleted, though it is not here", () => {
  const model = away();
  const lobby = model.conversation("lobby");
  model.joined({ room: "lobby", epoch: "e", offset: 20, unread: 2, read: 10 });
  model.changedMessage(deleted(21, 9, "ada"));
  assert.equal(lobby.unread, 2);
  model.changedMessage(deleted(22, 19, "ada"));
  assert.equal(lobby.unread, 1);
});

test("direct messages: neither one's own nor deleted ones", () => {
  const model = away();
  const direct = (offset, user, to) => ({ ...said(offset, user), room: "@me", to });
  model.message(direct(11, "me", "ada"));
  model.message(direct(12, "ada", "me"));
  assert.equal(model.conversation("@ada").unread, 1);
  model.changedMessage({ ...deleted(13, 12, "ada"), room: "@me" });
  assert.equal(model.conversation("@ada").unread, 0);
});

test("what was read elsewhere in part leaves the rest", () => {
  const model = away();
  for (const offset of [11, 12, 13]) model.message(said(offset, "ada"));
  model.read({ room: "lobby", user: "me", offset: 12 });
  assert.equal(model.conversation("lobby").unread, 1);
});

test("a text is measured as the server measures it", () => {
  const limits = { message_size: 65_536 };
  assert.equal(tooLong("a".repeat(65_536), limits), "");
  assert.equal(tooLong('"'.repeat(65_536), limits), "");
  assert.match(tooLong("a".repeat(65_537), limits), /65537 bytes, and 65536/);
  assert.match(tooLong("é".repeat(40_000), limits), /80000 bytes, and 65536/);
});
