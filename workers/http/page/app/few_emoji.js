/** Owns the emoji that are there without loading any: what chats use most. */
/** @import { Emoji } from "./emoji.js" */

// "character name name…"; found by any beginning of a name.
const FEW = `
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
  .map((line) => [line.slice(0, line.indexOf(" ")), line.slice(line.indexOf(" ") + 1)]);

/** @returns {Emoji[]} */
export const fewEmoji = () =>
  FEW.map(([character, names]) => ({
    character,
    name: names,
    codes: names.split(" "),
    words: names.split(" "),
    tones: [],
  }));
