/** Owns what a person is told of what moderators do. */
/** @import { Muted } from "../chat/wire.js" */
import { wholeTime } from "./time.js";
import { t } from "./words.js";

/**
 * What somebody reads who is muted or banned, or may speak again.
 * @param {Muted} told
 */
export function sanctionText({ type, room, until, reason }) {
  if (type === "unmuted") return room ? t("You may write in #{room} again", { room }) : t("You may write again");
  if (type === "banned") {
    const told = room ? t("You are banned from #{room}", { room }) : t("You are banned");
    return withReason(told, until, reason);
  }
  const told = room ? t("You are muted in #{room}", { room }) : t("You are muted");
  return withReason(told, until, reason);
}

/**
 * @param {string} told
 * @param {number | undefined} until
 * @param {string | undefined} reason
 */
function withReason(told, until, reason) {
  const words = until ? `${told} ${t("until {time}", { time: wholeTime(until) })}` : told;
  return reason ? `${words}: ${reason}` : words;
}
