// The client of the page for Node, where there may be no WebSocket class.
import assert from "node:assert/strict";
import test from "node:test";
import { connect } from "../chat/chat.js";

test("without a WebSocket class connect says what to do, at once", () => {
  const own = globalThis.WebSocket;
  delete globalThis.WebSocket;
  try {
    assert.throws(() => connect("ws://127.0.0.1:1/"), /there is no WebSocket class here: hand one over/);
    assert.throws(() => connect("ws://127.0.0.1:1/", { WebSocket: {} }), /there is no WebSocket class here/);
  } finally {
    if (own !== undefined) globalThis.WebSocket = own;
  }
});

test("with one handed over it connects", () => {
  const asked = [];
  class Socket {
    constructor(url) {
      asked.push(url);
    }
    close() {}
  }
  const chat = connect("ws://127.0.0.1:1/", { WebSocket: Socket });
  return Promise.resolve().then(() => {
    chat.close();
    assert.deepEqual(asked, ["ws://127.0.0.1:1/"]);
  });
});
