/** The package as its users have it, against a real server: chat, a room's state, React's hook. URL names the server. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ChatError, connect, Room } from "chatmaster-client";
import { useRoom } from "chatmaster-client/react";
import { createElement } from "react";
import { renderToString } from "react-dom/server";

const URL = process.env.CHATMASTER_URL;

async function until(condition) {
  for (let tries = 0; tries < 1500; tries++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail(`not true after 30 s: ${condition}`);
}

function person(t, name) {
  const chat = connect(URL, { name });
  t.after(() => chat.close());
  return chat;
}

test("the server refuses in the client's own error", async (t) => {
  const chat = person(t, "Ada");
  await assert.rejects(chat.say("no room of ours", "hello"), (error) => error instanceof ChatError && error.code === "bad_request");
});

test("a room's state follows messages, edits, deletions and reactions, and says who is there", async (t) => {
  const [ada, bob] = [person(t, "Ada"), person(t, "Bob")];
  await bob.join("state");
  const { offset } = await bob.say("state", "before");
  const room = new Room(ada, "state");
  let told = 0;
  const end = room.subscribe(() => told++);
  await until(() => room.snapshot().ready);
  assert.deepEqual(room.snapshot().messages.map(({ text }) => text), ["before"]);
  await until(() => room.snapshot().count === 2);
  await room.say("after");
  await bob.edit("state", offset, "changed");
  await bob.react("state", offset, "👍");
  await until(() => room.snapshot().messages[0].reactions?.["👍"]?.length === 1);
  await bob.react("state", offset, "👍", { remove: true });
  await until(() => room.snapshot().messages[0].reactions?.["👍"] === undefined);
  assert.deepEqual(room.snapshot().messages.map(({ text }) => text), ["changed", "after"]);
  await bob.delete("state", offset);
  await until(() => room.snapshot().messages[0].deleted);
  const before = room.snapshot();
  assert.equal(room.snapshot(), before, "the same object until something changes");
  end();
  const then = told;
  await bob.say("state", "unseen");
  await ada.history("state");
  assert.equal(told, then, "who has left is not told");
});

test("a room that may not be joined has the reason", async (t) => {
  const room = new Room(person(t, "Ada"), "closed-room");
  t.after(room.subscribe(() => {}));
  await until(() => room.snapshot().error);
  assert.equal(room.snapshot().error.code, "forbidden");
});

test("React draws the snapshot of the hook", async (t) => {
  const chat = person(t, "Ada");
  const Lobby = () => {
    const { messages, count, ready, say } = useRoom(chat, "lobby");
    return createElement("p", null, `${messages.length} ${count} ${ready} ${typeof say}`);
  };
  assert.equal(renderToString(createElement(Lobby)), "<p>0 0 false function</p>");
});
