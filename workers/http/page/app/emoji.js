/** Owns the emoji picker: a small choice, found by name. */
import { el, isComposing } from "./dom.js";
import { moveFocus, openPopup } from "./popup.js";
import { kept } from "./storage.js";

export const QUICK = ["👍", "❤️", "😄"];
const RECENT = "emoji";
const COLUMNS = 8;

/** @returns {string[]} those that were chosen last */
const recent = () => kept.get(RECENT, []);

// "character name name…"; found by any beginning of a name.
const ALL = `
👍 thumbs up yes good like|👎 thumbs down no bad|❤️ heart love red|😄 smile happy|😂 joy laugh tears|🎉 party tada celebrate|😮 wow surprised|😢 sad cry
🙏 thanks please pray|👏 clap applause|🔥 fire hot|🚀 rocket ship launch|👀 eyes look|✅ check done ok|❌ cross no wrong|💯 hundred perfect
😀 grin|😃 smile open|😁 beam|😆 laugh squint|😅 sweat relief|🤣 rolling laugh|🙂 slight smile|🙃 upside down
😉 wink|😊 blush smile|😇 angel halo|🥰 love hearts face|😍 love eyes|🤩 star struck|😘 kiss|😋 yum tasty
😜 wink tongue silly|🤪 zany crazy|🤗 hug|🤭 giggle oops|🤔 thinking hmm|🤫 quiet shush|🤐 zipper mouth|🤨 raised eyebrow doubt
😐 neutral|😑 expressionless|😶 no mouth silent|😏 smirk|🙄 roll eyes|😬 grimace awkward|😌 relieved calm|😴 sleep tired
🤤 drool|😷 mask ill|🤒 ill fever|🤯 mind blown|🥳 party face|😎 cool sunglasses|🤓 nerd glasses|🧐 monocle
😕 confused|😟 worried|🙁 frown|😳 flushed|🥺 pleading puppy|😦 frown open|😨 fear|😰 anxious sweat
😥 sad relieved|😭 sob cry loud|😱 scream|😖 confounded|😞 disappointed|😓 downcast sweat|😩 weary|😤 huff proud
😡 angry red|😠 angry|🤬 swear|😈 devil|💀 skull dead|💩 poo|🤡 clown|👻 ghost
👽 alien|🤖 robot|😺 cat smile|🙈 monkey see no evil|🙉 monkey hear no evil|🙊 monkey speak no evil|💔 broken heart|🧡 orange heart
💛 yellow heart|💚 green heart|💙 blue heart|💜 purple heart|🖤 black heart|🤍 white heart|✨ sparkles|⭐ star
🌟 glowing star|💫 dizzy|💥 boom bang|💡 idea bulb|💤 sleep zzz|👋 wave hello bye|🤚 hand back|✋ hand high five
👌 ok perfect|🤏 pinch small|✌️ peace victory|🤞 fingers crossed luck|🤟 love you|🤘 rock|👈 left point|👉 right point
👆 up point|👇 down point|✊ fist|👊 punch fist|🙌 raised hands hooray|🤝 handshake deal|💪 strong muscle|🧠 brain
👤 person|👥 people|🙋 hand raised question|🤷 shrug|🤦 facepalm|🙇 bow sorry|🏃 run|💃 dance
🐶 dog|🐱 cat|🐭 mouse|🐰 rabbit|🦊 fox|🐻 bear|🐼 panda|🐸 frog
🐵 monkey|🐔 chicken|🐧 penguin|🦉 owl|🦄 unicorn|🐝 bee|🐢 turtle|🐙 octopus
🐳 whale|🦀 crab|🌵 cactus|🌲 tree|🍀 clover luck|🌸 blossom flower|🌻 sunflower|🌍 earth world
🌞 sun|🌙 moon|☁️ cloud|🌈 rainbow|☔ rain umbrella|❄️ snow cold|⚡ lightning fast|🌊 wave sea
🍎 apple|🍌 banana|🍓 strawberry|🍕 pizza|🍔 burger|🍟 fries|🌮 taco|🍣 sushi
🍪 cookie|🎂 cake birthday|🍫 chocolate|🍿 popcorn|☕ coffee tea|🍺 beer|🍷 wine|🥂 cheers
⚽ football soccer|🏀 basketball|🎾 tennis|🏆 trophy win|🎮 game|🎲 dice|🎵 music note|🎸 guitar
🎨 art paint|🎬 film|📷 camera|💻 laptop computer|📱 phone|⌛ hourglass wait|⏰ alarm clock time|🔒 lock
🔑 key|🔧 wrench tool|🔨 hammer|🐛 bug|📦 package box|📌 pin|📎 clip|📝 note memo write
📅 calendar date|📈 chart up|📉 chart down|💰 money|🎁 gift present|📣 megaphone announce|🔔 bell|❓ question
❗ exclamation|⚠️ warning|🚧 construction|♻️ recycle|➕ plus|➖ minus|🆗 ok button|🆒 cool button
🏠 house home|🏢 office|🏖️ beach|⛰️ mountain|🚗 car|🚲 bicycle|🚆 train|✈️ plane travel
`
  .trim()
  .split(/[|\n]/)
  .map((line) => ({ character: line.slice(0, line.indexOf(" ")), names: line.slice(line.indexOf(" ") + 1) }));

/**
 * Let the person choose one.
 * @param {HTMLElement} anchor
 * @param {(character: string) => void} chosen
 * @param {HTMLElement} [focusBack]
 */
export function openEmojiPicker(anchor, chosen, focusBack) {
  const search = el("input", { type: "search", placeholder: "Search", "aria-label": "Search for an emoji" });
  const grid = el("div", { class: "emoji-grid", role: "group", "aria-label": "Emoji" });
  const picker = el("div", { class: "emoji-picker", role: "dialog", "aria-label": "Emoji" }, search, grid);
  const choose = (/** @type {string} */ character) => {
    close();
    kept.set(RECENT, [character, ...recent().filter((one) => one !== character)].slice(0, COLUMNS));
    chosen(character);
  };
  const show = () => grid.replaceChildren(...cells(search.value.trim().toLowerCase(), choose));
  show();
  search.addEventListener("input", show);
  search.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (isComposing(event)) return;
    if (event.key === "Enter") {
      event.preventDefault(); // the focus goes to the text, where the same key would begin a new line
      grid.querySelector("button")?.click();
    }
    if (event.key === "ArrowDown") moveFocus(event, [...grid.querySelectorAll("button")]);
  });
  grid.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) =>
    moveFocus(event, [...grid.querySelectorAll("button")], COLUMNS),
  );
  const close = openPopup(anchor, picker, { focusBack });
  if (!picker.closest(".sheet")) search.focus();
}

/**
 * @param {string} wanted
 * @param {(character: string) => void} choose
 */
function cells(wanted, choose) {
  const before = recent();
  const first = ALL.filter(({ character }) => before.includes(character));
  const ordered = wanted ? ALL : [...first, ...ALL.filter((one) => !first.includes(one))];
  const fitting = ordered.filter(
    ({ names }) => names.split(" ").some((name) => name.startsWith(wanted)) || names.startsWith(wanted),
  );
  if (!fitting.length) return [el("p", { class: "emoji-none", text: "Nothing by that name" })];
  return fitting.map(({ character, names }, place) =>
    el("button", {
      type: "button",
      tabindex: place ? "-1" : "0",
      "aria-label": names,
      title: names,
      text: character,
      on: { click: () => choose(character) },
    }),
  );
}
