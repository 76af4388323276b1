/** The addresses of a login, there and back, and when a token is renewed. */
import assert from "node:assert/strict";
import test from "node:test";
import { claimsOf, loginIn, renewIn, subjectOf, withReturn } from "../app/signin.js";

const NOW = 1_000_000_000;
const tokenOf = (claims) => `x.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.y`;

test("an address is about a login only with one of the two words", () => {
  assert.equal(loginIn("#lobby"), null);
  assert.deepEqual(loginIn("#token=a.b.c&room=garden"), { token: "a.b.c", state: "", room: "garden" });
  assert.deepEqual(loginIn("#login=s&token="), { token: "", state: "s", room: "" });
});

test("the way back is one parameter, or where the site wants it", () => {
  const back = "https://chat.example/#login=a&token=";
  const coded = encodeURIComponent(back);
  assert.equal(withReturn("/login", back), `/login?return_to=${coded}`);
  assert.equal(withReturn("/login?a=1", back), `/login?a=1&return_to=${coded}`);
  assert.equal(withReturn("/in?next={return}&x", back), `/in?next=${coded}&x`);
});

test("a token is renewed before its end by its own clock, and never in a storm", () => {
  const at = NOW / 1000;
  assert.equal(renewIn(tokenOf({ sub: "a" }), NOW), Infinity);
  assert.equal(renewIn(tokenOf({ iat: at, exp: at + 600 }), NOW), 540_000);
  assert.equal(renewIn(tokenOf({ iat: at, exp: at + 100 }), NOW), 80_000);
  assert.equal(renewIn(tokenOf({ iat: at - 9000, exp: at - 8400 }), NOW), 540_000); // this machine's clock is wrong
  assert.equal(renewIn(tokenOf({ exp: at - 100 }), NOW), 5000);
});

test("what is no token is for nobody else", () => {
  assert.deepEqual(claimsOf("rubbish"), {});
  assert.equal(subjectOf("rubbish"), "rubbish");
  assert.equal(claimsOf(tokenOf({ name: "Jürgen 家" })).name, "Jürgen 家");
});
