/** What marks mean in a text: what is bold, what a list, and what is only a letter. */
import assert from "node:assert/strict";
import test from "node:test";
import { blocksOf, emphasised } from "../app/markup.js";
import { excerpt, folded, tokens } from "../app/text.js";

/** Written back as tags, to be read. */
const shown = (parts) =>
  parts
    .map((part) => (part.type === "emphasis" ? `<${part.as}>${shown(part.children)}</${part.as}>` : part.text))
    .join("");
const line = (text, mentions) => shown(emphasised(tokens(text, mentions)));

/** @type {[string, string][]} */
const LINES = [
  [
    "**bold** and *italic* and _too_ and ~~gone~~",
    "<strong>bold</strong> and <em>italic</em> and <em>too</em> and <s>gone</s>",
  ],
  ["***both***", "<strong><em>both</em></strong>"],
  ["**bold with *italic* in it**", "<strong>bold with <em>italic</em> in it</strong>"],
  ["*italic with **bold** in it*", "<em>italic with <strong>bold</strong> in it</em>"],
  ["a * b * c, 2*3*4, some_long_name_here", "a * b * c, 2*3*4, some_long_name_here"],
  ["__init__ and **kwargs, *args", "__init__ and **kwargs, *args"],
  ["これは**重要**です。*これ*も", "これは<strong>重要</strong>です。<em>これ</em>も"],
  ["** not** and **not **", "** not** and **not **"],
  ["*over\nlines*", "*over\nlines*"],
  ["**** and ** and ~~~~ and ~", "**** and ** and ~~~~ and ~"],
  ["*a **b* c**", "<em>a **b</em> c**"],
  ["(*in brackets*), “**quoted**”!", "(<em>in brackets</em>), “<strong>quoted</strong>”!"],
  ["`*code*` **`code`**", "*code* <strong>code</strong>"],
  ["https://example.org/*a*_b_ **https://example.org**", "https://example.org/*a*_b_ **https://example.org**"],
];
for (const [text, expected] of LINES)
  test(`emphasis in ${JSON.stringify(text)}`, () => assert.equal(line(text), expected));

test("a mention is not looked into, and may be emphasised", () => {
  const mentions = [{ name: "*o*Luc", me: true }];
  assert.equal(line("**@*o*Luc**", mentions), "<strong>@*o*Luc</strong>");
});

test("quotes, lists and code are blocks; what is between is text", () => {
  assert.deepEqual(blocksOf("see:\n- one\n  more of it\n- two\n\n3. three\n4. four\n> said\n> before\nno"), [
    { type: "text", text: "see:" },
    { type: "list", start: null, items: ["one\nmore of it", "two"] },
    { type: "text", text: "" },
    { type: "list", start: 3, items: ["three", "four"] },
    { type: "quote", text: "said\nbefore" },
    { type: "text", text: "no" },
  ]);
  assert.deepEqual(blocksOf("look\n```python\nprint(1)\n```\nand"), [
    { type: "text", text: "look" },
    { type: "code", text: "print(1)", language: "python" },
    { type: "text", text: "and" },
  ]);
});

test("a hash is no heading, a lone mark no list", () => {
  for (const text of ["# not a heading", "-", "- ", "-1 degrees", "*", "1.5 m", ">_<".slice(1)])
    assert.deepEqual(blocksOf(text), [{ type: "text", text }]);
});

test("nothing of a text is lost but its marks", () => {
  let seed = 11;
  const random = (most) => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % most;
  };
  const letters = ["*", "**", "_", "~~", " ", "a", "é", "東", "\n", "***", "(", "@a"];
  for (let run = 0; run < 3000; run += 1) {
    const text = Array.from({ length: random(14) }, () => letters[random(letters.length)]).join("");
    const kept = line(text).replace(/<\/?(?:em|strong|s)>/g, "");
    assert.equal(kept.replace(/[*_~]/g, ""), text.replace(/[*_~]/g, ""), text);
  }
});

test("hostile shapes cost no more than a few plain texts of their size", () => {
  const size = 65_536;
  const all = (text) => blocksOf(text).map((block) => (block.type === "text" ? emphasised(tokens(block.text)) : []));
  const time = (text) => {
    const begun = performance.now();
    all(text);
    return performance.now() - begun;
  };
  const best = (text) => Math.min(...Array.from({ length: 5 }, () => time(text)));
  const plain = best("see *this* and **that**, `code` _too_ ".repeat(size / 37));
  for (const part of [
    "*",
    "**a",
    "*a ",
    "_a* ",
    "~~",
    "> ",
    "- a\n",
    "1. a\n",
    "\n",
    "```\n",
    "*a**b***c",
    "a*",
    " *a\n",
  ]) {
    const times = best(part.repeat(size / part.length)) / plain;
    assert.ok(times < 12, `${JSON.stringify(part)}: ${times.toFixed(1)} times a plain text`);
  }
});

test("an excerpt is one line without marks, whatever comes before its words", () => {
  assert.equal(excerpt("**Look** at\n- this\n- `that`"), "Look at this that");
  assert.equal(excerpt(`${"\n".repeat(60_000)}here`), "here");
  assert.equal(excerpt("word ".repeat(100)).length, 120);
});

test("a long text is folded, with its code closed; a short one is not", () => {
  assert.equal(folded("a\n".repeat(14)), null);
  assert.equal(folded("a".repeat(1500)), null);
  assert.equal(folded("a\n".repeat(60_000))?.split("\n").length, 14);
  assert.equal(folded("a".repeat(60_000))?.length, 1400);
  assert.ok(folded(`\`\`\`\n${"a\n".repeat(100)}\`\`\``)?.endsWith("\n```"));
});
