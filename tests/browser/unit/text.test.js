/** What becomes of a message's text: any name and any text, where links end, who is mentioned. */
import assert from "node:assert/strict";
import test from "node:test";
import { linksIn } from "../app/links.js";
import { isEmojiOnly, tokens } from "../app/text.js";

const MOST_TIMES = 12; // a plain text

const textOf = (found) => found.map(({ text }) => text).join("");
const mentionsOf = (found) => found.filter(({ type }) => type === "mention").map(({ text }) => text);
const linksOf = (text) => linksIn(text).map(({ link }) => link.text);

/** Every character of Unicode but the halves of pairs, which the server lets nobody send. */
function* everyCharacter() {
  for (let code = 0; code < 0x110000; code += 1) if (code < 0xd800 || code > 0xdfff) yield String.fromCodePoint(code);
}

test("a name with any character in it is found where it stands, and nothing of the text is lost", () => {
  for (const character of everyCharacter()) {
    if ("@`".includes(character)) continue;
    const name = `${character}o${character}Luc`;
    const text = `hello @${name}!`;
    const found = tokens(text, [{ name, me: true }]);
    if (textOf(found) !== text || mentionsOf(found)[0] !== `@${name}`) assert.fail(JSON.stringify(name));
  }
});

test("names of every kind of character, many in a message", () => {
  const characters = [...everyCharacter()];
  let seed = 7;
  const random = (most) => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % most;
  };
  for (let run = 0; run < 1000; run += 1) {
    const word = () => Array.from({ length: 1 + random(8) }, () => characters[random(characters.length)]).join("");
    const mentions = Array.from({ length: 1 + random(5) }, () => ({ name: word(), me: random(2) > 0 }));
    const text = mentions.map(({ name }) => `@${name}${word()}`).join(" ");
    const found = tokens(text, mentions);
    if (!text.includes("`")) assert.equal(textOf(found), text);
    isEmojiOnly(text);
  }
});

for (const name of ["Jean-Luc", "-", "(o_o)", "[x]", "a|b", "\\", "$^", "..", "{2}", "/re/u", "?!", "'", "*"]) {
  test(`the name ${name} is mentioned`, () => {
    assert.deepEqual(mentionsOf(tokens(`@${name}, look`, [{ name, me: false }])), [`@${name}`]);
  });
}

for (const [name, written] of [
  ["Straße", "STRASSE"],
  ["ΣΊΣΥΦΟΣ", "σίσυφος"],
  ["Zoë", "zoe\u0308"],
  ["Ｂｏｂ", "bob"],
  ["ДАША", "даша"],
])
  test(`${name} is mentioned as ${written}`, () => {
    assert.deepEqual(mentionsOf(tokens(`@${written}, look`, [{ name, me: false }])), [`@${written}`]);
  });

test("a mention is a whole word, and the longest name that fits", () => {
  const names = ["Ann", "Ann Lee", "Bob"].map((name) => ({ name, me: name === "Bob" }));
  const found = tokens("@ann lee @ANN @Anne x@Bob @bobby @Bob's", names);
  assert.deepEqual(mentionsOf(found), ["@ann lee", "@ANN", "@Bob"]);
  assert.equal(found.find(({ text }) => text === "@Bob")?.me, true);
});

/** @type {[string, string[]][]} */
const LINKS = [
  ["見て https://example.org/a。ありがとう", ["https://example.org/a"]],
  ["「https://example.org/a」を見て", ["https://example.org/a"]],
  ["https://example.org/aを見て", ["https://example.org/a"]],
  ["https://example.orgを見て", ["https://example.org"]],
  ["（https://example.org/a）、https://example.org/b", ["https://example.org/a", "https://example.org/b"]],
  ["看https://example.org/a，很好", ["https://example.org/a"]],
  ["https://example.org很好", ["https://example.org"]],
  ["《https://example.org/a》：好！", ["https://example.org/a"]],
  ["https://example.org/a에서", ["https://example.org/a"]],
  ["انظر https://example.org/a، ثم https://example.org/b؟", ["https://example.org/a", "https://example.org/b"]],
  ["“https://example.org/a” ‘https://example.org/b’", ["https://example.org/a", "https://example.org/b"]],
  [
    "„https://example.org/a“ «https://example.org/b» ‹https://example.org/c›",
    ["a", "b", "c"].map((p) => `https://example.org/${p}`),
  ],
  ["https://example.org/a… https://example.org/b—so", ["https://example.org/a", "https://example.org/b"]],
  ["https://example.org/a। और", ["https://example.org/a"]],
  [
    "https://ja.wikipedia.org/wiki/東京 https://日本語.jp/",
    ["https://ja.wikipedia.org/wiki/東京", "https://日本語.jp/"],
  ],
  ["https://example.org/?ids=[2]", ["https://example.org/?ids=[2]"]],
  ["(https://example.org/?ids=[2],)", ["https://example.org/?ids=[2]"]],
  [
    "https://example.org/a_(b) (see https://example.org/c_(d)).",
    ["https://example.org/a_(b)", "https://example.org/c_(d)"],
  ],
  ["[https://example.org/a](https://example.org/b)", ["https://example.org/a", "https://example.org/b"]],
  ["{https://example.org/{id}}", ["https://example.org/{id}"]],
  ["http://[::1]:8080/x.", ["http://[::1]:8080/x"]],
  ["https://bank.example@evil.example/", []],
  ["https:// https://? xhttps://example.org", []],
  ["https://example.org/\u202egpj.exe", ["https://example.org/"]],
];
for (const [text, expected] of LINKS) test(`links in ${text}`, () => assert.deepEqual(linksOf(text), expected));

test("hostile shapes cost no more than a few plain texts of their size", () => {
  const size = 65_536;
  const fill = (part) => part.repeat(size / part.length);
  const names = Array.from({ length: 50 }, (_, length) => ({
    name: `a${".@a".repeat(length)}`.slice(0, 32),
    me: false,
  }));
  const plain = fill("see https://example.org/a, @ann ");
  const time = (text) => {
    const begun = performance.now();
    tokens(text, names);
    return performance.now() - begun;
  };
  // The best of some runs, one beside the other: what else the machine does slows both.
  const ratio = (text) => {
    const pairs = Array.from({ length: 5 }, () => [time(text), time(plain)]);
    return Math.min(...pairs.map(([one]) => one)) / Math.min(...pairs.map(([, other]) => other));
  };
  for (const part of ["https://a]", "https://", "(", "@a", "@a.", "`", "``` ", "https://(", ".", " @"]) {
    const times = ratio(fill(part));
    assert.ok(times < MOST_TIMES, `${part}: ${times.toFixed(1)} times a plain text`);
  }
});
