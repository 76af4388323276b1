/** What a person is shown as: their colour; and which emoji they mean. */
import assert from "node:assert/strict";
import test from "node:test";
import { Colours } from "../app/colours.js";
import { findEmoji } from "../app/find_emoji.js";

const key = ({ hue, light }) => `${hue} ${light}`;

test("people who come have colours that differ, as long as there are any; each keeps theirs", () => {
  const colours = new Colours();
  const users = Array.from({ length: 24 }, (_, number) => `guest:${number}`);
  const first = users.map((user) => key(colours.of(user)));
  assert.equal(new Set(first).size, 24);
  for (let number = 0; number < 1000; number += 1) colours.of(`more:${number}`);
  assert.deepEqual(
    users.map((user) => key(colours.of(user))),
    first,
  );
});

test("who comes alone has the same colour on every page", () => {
  for (const user of ["u1", "guest:a", "東京"]) assert.deepEqual(new Colours().of(user), new Colours().of(user));
});

const emoji = (character, name, codes, words = "") => ({
  character,
  name,
  codes: codes.split(" "),
  words: words.split(" "),
  tones: [],
});
const ALL = [
  emoji("🚢", "ship", "ship", "boat"),
  emoji("🚀", "rocket", "rocket", "launch space ship"),
  emoji("🎉", "party popper", "tada party_popper", "celebrate"),
  emoji("🏳️‍🌈", "rainbow flag", "rainbow_flag", "pride"),
];
const found = (asked) =>
  findEmoji(ALL, asked)
    .map(({ character }) => character)
    .join("");

test("by code before name before keyword, and by the beginnings of several words", () => {
  assert.equal(found("ship"), "🚢🚀");
  assert.equal(found(":tada:"), "🎉");
  assert.equal(found("party pop"), "🎉");
  assert.equal(found("flag"), "🏳️‍🌈");
  assert.equal(found("space"), "🚀");
  assert.equal(found("🚀"), "🚀");
  assert.equal(found("nothing of the kind"), "");
});
