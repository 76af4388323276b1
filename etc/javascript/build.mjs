/**
 * Makes the parts of the page that come when they are first needed: all of Unicode's emoji by their category, from
 * emojibase, and the colours of code, from highlight.js. They lie in workers/http/page/loaded and are served from there;
 * without them the page has a few emoji, and code in one colour.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const LOADED = new URL("../../workers/http/page/loaded/", import.meta.url);
const LANGUAGES = ["bash", "cpp", "css", "go", "java", "javascript", "python", "rust", "sql", "xml"];
const ALIASES = { javascript: ["json", "ts", "typescript"] };
const COMPONENTS = 2; // the group of tones and hair alone

/** Lists of [character, label, names, tags, tones] by group; tones of one skin colour, from light to dark. */
function emoji() {
  const names = require("emojibase-data/en/shortcodes/emojibase.json");
  const more = require("emojibase-data/en/shortcodes/github.json");
  const groups = require("emojibase-data/en/messages.json").groups.filter(({ order }) => order !== COMPONENTS);
  const all = require("emojibase-data/en/data.json").filter(({ group }) => group !== undefined && group !== COMPONENTS);
  const shortcodes = ({ hexcode }) => [...new Set([names[hexcode] ?? [], more[hexcode] ?? []].flat())];
  const entry = (one) => {
    const tones = (one.skins ?? []).filter(({ tone }) => typeof tone === "number").map((skin) => skin.emoji);
    const words = (one.tags ?? []).filter((tag) => !one.label.includes(tag));
    return [one.emoji, one.label, shortcodes(one).join(" "), words.join(" "), ...(tones.length ? [tones.join(" ")] : [])];
  };
  const lists = groups.map(({ message, order }) => {
    const members = all.filter(({ group }) => group === order).sort((one, other) => one.order - other.order);
    return { name: message, emoji: members.map(entry) };
  });
  return `// From emojibase-data (MIT), by etc/javascript/build.mjs.\nexport const groups = ${JSON.stringify(lists)};\n`;
}

/** One module with highlight.js, its languages, and `highlight(text, language)`: a tree of parts, or null. */
function highlight() {
  const root = "@highlightjs/cdn-assets/es/";
  const read = (path) => readFileSync(require.resolve(root + path), "utf-8");
  const core = read("core.min.js").replace(/export\{(\w+) as default\}/, "const hljs=$1");
  const grammars = LANGUAGES.map((name) => {
    const source = read(`languages/${name}.min.js`).replace("export default hljsGrammar", "return hljsGrammar");
    return `hljs.registerLanguage(${JSON.stringify(name)}, (() => {${source}})());`;
  });
  const aliases = Object.entries(ALIASES).map(
    ([languageName, names]) => `hljs.registerAliases(${JSON.stringify(names)}, ${JSON.stringify({ languageName })});`,
  );
  return `${core}
${grammars.join("\n")}
${aliases.join("\n")}
export function highlight(text, language) {
  if (!hljs.getLanguage(language)) return null;
  return hljs.highlight(text, { language, ignoreIllegals: true })._emitter.rootNode.children;
}
`;
}

mkdirSync(LOADED, { recursive: true });
writeFileSync(new URL("emoji.js", LOADED), emoji());
writeFileSync(new URL("highlight.js", LOADED), highlight());
