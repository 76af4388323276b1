/** What the package exports: the client of the page, and the state of a room for user interfaces. */

export { Chat, ChatError, connect } from "./chat.js";
export { Room } from "./room.js";
