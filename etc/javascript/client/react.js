/** React's hooks for a room of a chat. React is the program's own; the package brings none. */
/** @import { Chat } from "./chat.js" */
/** @import { RoomSnapshot } from "./room.js" */

import { useMemo, useSyncExternalStore } from "react";
import { Room } from "./room.js";

/**
 * The messages and people of a room, and `say`. The component is drawn again when any of it changes.
 * @param {Chat} chat made once, by `connect`, outside of components
 * @param {string} name
 * @returns {RoomSnapshot & {say: (text: string) => Promise<import("./verbs.js").Ack>}}
 */
export function useRoom(chat, name) {
  const room = useMemo(() => new Room(chat, name), [chat, name]);
  const snapshot = useSyncExternalStore(room.subscribe, room.snapshot, room.snapshot);
  return useMemo(() => ({ ...snapshot, say: (/** @type {string} */ text) => room.say(text) }), [snapshot, room]);
}
