// What a program in TypeScript writes: each wrong use is refused by the declarations of the package.
import { type Chat, ChatError, connect, Room } from "chatmaster-client";
import { useRoom } from "chatmaster-client/react";

const chat: Chat = connect("ws://127.0.0.1:8000/", { rooms: ["lobby"], name: "Ada" });
const end: () => void = chat.on("message", ({ from, text, offset }) => console.log(from.name, text?.length, offset + 1));
chat.on("gap", ({ from, to }) => console.log(to - from));
const ack = await chat.say("lobby", "hello", { key: "once" });
console.log(ack.offset, new Room(chat, "lobby").snapshot().messages[0]?.text, end, ChatError);

export const Lobby = () => useRoom(chat, "lobby").messages.map(({ offset }) => offset + 1);

// @ts-expect-error: there is no such event
chat.on("mesage", () => {});
// @ts-expect-error: a room's name is a string
await chat.say(7, "hello");
// @ts-expect-error: there is no such option
connect("ws://127.0.0.1:8000/", { room: "lobby" });
