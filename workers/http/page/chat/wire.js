/**
 * Owns the types of what the server says, as etc/doc/protocol.md describes it. Types only: nothing of this file is served.
 *
 * @typedef {{user: string, name: string}} From
 *
 * @typedef {object} Entry an entry of a room's log: live, missed, or from `history`
 * @property {"message" | "edited" | "deleted" | "reacted"} type
 * @property {string} room
 * @property {string} epoch
 * @property {number} offset
 * @property {number} time ms since 1970
 * @property {From} from
 * @property {string} [key] the sender's own
 * @property {string} [text]
 * @property {any} [data]
 * @property {number} [reply_to]
 * @property {string} [to] of a direct message
 * @property {string[]} [mentions]
 * @property {number} [edited] of a message as it now stands
 * @property {boolean} [deleted]
 * @property {Record<string, (string | From)[]>} [reactions]
 * @property {any} [target] offset of the message that is changed
 * @property {string} [emoji]
 * @property {boolean} [remove]
 *
 * @typedef {object} RoomState in `welcome`, and as `joined`
 * @property {string} room
 * @property {string} epoch
 * @property {number} offset
 * @property {boolean} [recovered]
 * @property {number} [members]
 * @property {number} [unread]
 * @property {number} [read]
 * @property {string} [topic]
 * @property {number[]} [mentions] offsets of unread messages that mention the user, or everybody
 *
 * @typedef {object} Welcome
 * @property {"welcome"} type
 * @property {number} [id]
 * @property {string} user
 * @property {string} name
 * @property {string} [role]
 * @property {string} [token] a guest's
 * @property {string} [push] the server's key for Web Push
 * @property {number} [ping_interval] seconds
 * @property {Limits} limits
 * @property {RoomState[]} rooms
 *
 * @typedef {{message_size: number, name: number, key_ttl?: number}} Limits bytes, characters, seconds
 *
 * @typedef {{user: string, name: string, connections: number, role?: string}} Member
 *
 * @typedef {object} Presence
 * @property {string} room
 * @property {From[]} [joined]
 * @property {From[]} [left]
 * @property {From[]} [renamed]
 * @property {number} count
 *
 * @typedef {{room: string, reason?: string}} Left
 * @typedef {{room: string, user: string, name?: string}} Typing
 * @typedef {{room: string, user: string, offset: number}} Read
 * @typedef {{room: string, epoch: string, from: number, to: number, changes?: boolean}} Gap
 * @typedef {{room: string, epoch: string, offset: number}} Reset
 * @typedef {{type: "muted" | "unmuted" | "banned", room?: string, until?: number, reason?: string}} Muted
 * @typedef {{id?: number, code: string, message: string, field?: string, retry_after_ms?: number,
 *   until?: number, reason?: string}} WireError with `until` and `reason` of a ban or a mute
 * @typedef {{code: number, reason: string, retry_after_ms?: number}} Bye
 * @typedef {import("./verbs.js").History} Page of a log
 *
 * @typedef {object} Events what a client tells, by its type
 * @property {Welcome} welcome
 * @property {RoomState} joined
 * @property {Left} left
 * @property {Entry} message
 * @property {Entry} edited
 * @property {Entry} deleted
 * @property {Entry} reacted
 * @property {Gap} gap
 * @property {Reset} reset
 * @property {Presence} presence
 * @property {Typing} typing
 * @property {Read} read
 * @property {Muted} muted
 * @property {Muted} unmuted
 * @property {Muted} banned before the `left` or the `bye` that it causes
 * @property {WireError} error
 * @property {Bye} bye
 * @property {import("./chat.js").State} state
 * @property {{recovered: number, lost: number, resets: number}} caughtup
 * @property {{kind: string, key?: string, room?: string}} sent
 * @property {{kind: string, key?: string, code: string, message: string, at: number}} retrying
 */
