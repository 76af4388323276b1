/** Owns how one row of the timeline looks: a message, one of our own on its way, a line between them. */
/** @import { Conversation, Message } from "./conversation.js" */
/** @import { App } from "./main.js" */
/** @import { Model } from "./model.js" */
/** @import { Outgoing } from "./outbox.js" */
/** @import { Row } from "./rows.js" */
import { avatar, bdi, el, icon } from "./dom.js";
import { excerpt, folded, isEmojiOnly, rendered } from "./text.js";
import { clockTime, wholeTime } from "./time.js";
import { t, tParts } from "./words.js";

const READERS_SHOWN = 4;

/**
 * The node of a row.
 * @param {import("./rows.js").Row} row
 * @param {import("./conversation.js").Conversation} conversation
 * @param {App} app
 */
export function nodeOf(row, conversation, app) {
  try {
    return drawnNode(row, conversation, app);
  } catch (error) {
    console.error("a row cannot be drawn:", row.key, error);
    return faultNode();
  }
}

/** What is shown of a message whose drawing failed: the others are drawn all the same. */
const faultNode = () => el("li", { class: "line fault", text: t("This message cannot be shown") });

/**
 * @param {Row} row
 * @param {Conversation} conversation
 * @param {App} app
 */
function drawnNode(row, conversation, app) {
  if (row.kind === "message") return messageNode(row, conversation, app);
  if (row.kind === "outgoing") return outgoingNode(row);
  if (row.kind === "start") return startNode(conversation, app);
  if (row.kind === "outside") return outsideNode();
  const node = el("li", { class: row.kind === "loading" ? "loading" : `line ${row.kind}`, text: row.text });
  if (row.more) node.append(el("button", { type: "button", class: "button", text: row.more, data: { act: "new" } }));
  return node;
}

function outsideNode() {
  const join = el("button", {
    type: "button",
    class: "button primary",
    text: t("Join this room"),
    data: { act: "join" },
  });
  const words = el("p", { text: t("You are not in this room.") });
  return el("li", { class: "start" }, words, el("div", { class: "buttons start-buttons" }, join));
}

/**
 * @param {Conversation} conversation
 * @param {App} app
 */
function startNode(conversation, app) {
  const { model } = app;
  const title = model.titleOf(conversation);
  const heading = conversation.direct
    ? [bdi(title)]
    : tParts("This is the beginning of {room}", { room: bdi(`#${title}`) });
  const empty = !conversation.items.length;
  const words = conversation.direct
    ? t("Only the two of you are shown this. Whoever runs the server could read it.")
    : t("Say hello. Who is in this room reads it, and so can those who join later.");
  const face = conversation.direct
    ? avatar(conversation.peer, title, "large")
    : el("span", { class: "start-mark", "aria-hidden": "true", text: "#" });
  const node = el("li", { class: "start" }, face, el("h2", {}, ...heading), el("p", { text: words }));
  if (empty && !conversation.direct) {
    const name = el("button", { type: "button", class: "button", text: t("Change your name"), data: { act: "name" } });
    node.append(el("p", {}, ...tParts("You are called {name}.", { name: bdi(model.name) })));
    const invite = el("button", {
      type: "button",
      class: "button",
      text: t("Copy a link for others"),
      data: { act: "invite" },
    });
    node.append(el("div", { class: "buttons start-buttons" }, name, invite));
  }
  return node;
}

/**
 * @param {Row} row
 * @param {Conversation} conversation
 * @param {App} app
 */
function messageNode(row, conversation, app) {
  const { message, first } = row;
  const { model } = app;
  const forMe = message.mentions.includes(model.me) || message.mentions.includes("@room");
  const mine = message.from.user === model.me;
  const classes = ["message", first && "first", mine && "mine", forMe && "mentioned"].filter(Boolean).join(" ");
  const node = el("li", { class: classes, tabindex: "-1", data: { offset: message.offset, segment: message.segment } });
  node.append(
    gutter(row),
    el(
      "div",
      { class: "body" },
      first && head(message, conversation),
      quote(message, conversation),
      content(message, model),
    ),
  );
  const body = node.lastElementChild;
  if (message.reactions.size) body.append(reactions(message, app));
  if (row.last || row.readers?.length) node.append(side(row, app));
  if (!first) body.prepend(el("span", { class: "unseen", text: `${message.from.name}: ` }));
  return node;
}

/** @param {Row} row */
function gutter({ message, first }) {
  const time = () =>
    el("time", {
      datetime: new Date(message.time).toISOString(),
      title: wholeTime(message.time),
      text: clockTime(message.time),
    });
  if (!first) return el("div", { class: "gutter" }, time());
  const props = {
    type: "button",
    tabindex: "-1",
    "aria-label": t("About {name}", { name: message.from.name }),
    data: { act: "person" },
  };
  return el(
    "div",
    { class: "gutter" },
    el("div", {}, el("button", props, avatar(message.from.user, message.from.name))),
  );
}

/**
 * @param {Message} message
 * @param {Conversation} [conversation] in which the author may have a role
 */
function head(message, conversation) {
  const role = conversation?.members.get(message.from.user)?.role;
  const name = el(
    "button",
    { type: "button", class: "name", tabindex: "-1", data: { act: "person" } },
    bdi(message.from.name),
  );
  const time = el("time", {
    datetime: new Date(message.time).toISOString(),
    title: wholeTime(message.time),
    text: clockTime(message.time),
  });
  return el("div", { class: "head" }, name, role && el("span", { class: "hint", text: t(role) }), time);
}

/**
 * @param {Message} message
 * @param {Conversation} conversation
 */
function quote(message, conversation) {
  if (message.replyTo === undefined) return null;
  const target = conversation.answeredBy(message);
  const words = target ? textOf(target) : t("An earlier message");
  const props = { type: "button", class: "quote", data: { act: "quote" } };
  return el(
    "button",
    props,
    el("span", { class: "unseen", text: `${t("In reply to")} ` }),
    target && bdi(target.from.name),
    el("span", { text: words, dir: "auto" }),
  );
}

/**
 * What a message says, on one line.
 * @param {Message} message
 */
export function textOf(message) {
  if (message.deleted) return t("A deleted message");
  if (message.text === undefined) return t("Data");
  return excerpt(message.text);
}

const unfoldButton = () =>
  el("button", {
    type: "button",
    class: "link-button unfold",
    text: t("Show the whole message"),
    data: { act: "unfold" },
  });

/**
 * @param {Message} message
 * @param {Model} model
 */
function content(message, model) {
  if (message.deleted) return el("div", { class: "text tombstone", text: t("Message deleted") });
  if (message.text === undefined)
    return el("pre", {
      class: "data",
      tabindex: "0",
      "aria-label": t("Data"),
      text: JSON.stringify(message.data, null, 2),
    });
  const mentions = message.mentions.map((user) => ({
    name: user === "@room" ? "room" : model.nameOf(user),
    me: user === model.me || user === "@room",
  }));
  const large = isEmojiOnly(message.text);
  const beginning = message.unfolded ? null : folded(message.text);
  const parts = rendered(beginning ?? message.text, mentions);
  const node = el("div", { class: large ? "text large" : "text", dir: "auto" }, ...parts);
  if (beginning !== null) node.append(unfoldButton());
  if (message.edited) node.append(el("span", { class: "edited", text: t("(edited)") }));
  return node;
}

/**
 * @param {Message} message
 * @param {App} app
 */
function reactions(message, app) {
  const { model } = app;
  const chips = [...message.reactions].map(([emoji, users]) => {
    const names = [...users].map((user) => (user === model.me ? t("you") : model.nameOf(user))).join(", ");
    const mine = users.has(model.me);
    const props = {
      type: "button",
      class: "reaction",
      "aria-pressed": String(mine),
      "aria-label": `${emoji} ${users.size}: ${names}`,
      title: names,
      data: { act: "react", key: emoji },
    };
    return el("button", props, el("span", { text: emoji }), el("span", { text: String(users.size) }));
  });
  return el("div", { class: "reactions", role: "group", "aria-label": t("Reactions") }, ...chips);
}

/**
 * @param {Row} row
 * @param {App} app
 */
function side({ last, readers = [] }, app) {
  const names = readers.map((user) => app.model.nameOf(user));
  const node = el("div", { class: "side" });
  if (last) node.append(mark("checks", t("Kept by the server")));
  if (names.length) {
    const faces = readers.slice(0, READERS_SHOWN).map((user) => avatar(user, app.model.nameOf(user), "tiny"));
    const rest = readers.length - READERS_SHOWN;
    node.append(
      el(
        "span",
        { class: "readers", title: t("Read by {names}", { names: names.join(", ") }) },
        el("span", { class: "unseen", text: t("Read by {names}", { names: names.join(", ") }) }),
        ...faces,
        rest > 0 && el("span", { text: `+${rest}`, "aria-hidden": "true" }),
      ),
    );
  }
  return node;
}

/**
 * @param {any} symbol
 * @param {string} words
 */
const mark = (symbol, words) =>
  el("span", { class: "mark", title: words }, icon(symbol), el("span", { class: "unseen", text: words }));
/**
 * @param {string} status of an outgoing message
 * @returns {[string, string]} icon and words
 */
const markOf = (status) =>
  status === "sent" ? ["check", t("Sent, not yet kept")] : ["clock", t("Waiting to be sent")];

/** @param {Row} row */
function outgoingNode(row) {
  const outgoing = row.message;
  const failed = outgoing.status === "failed";
  const text = el("div", { class: "text", dir: "auto" }, ...rendered(folded(outgoing.text) ?? outgoing.text));
  const body = el("div", { class: "body" }, row.first && head(outgoing), text, failed && complaint(outgoing));
  const classes = `message mine ${row.first ? "first" : ""} ${outgoing.status}`;
  return el(
    "li",
    { class: classes, data: { key: outgoing.key } },
    gutter(row),
    body,
    !failed && el("div", { class: "side" }, mark(...markOf(outgoing.status))),
  );
}

/** @param {Outgoing} outgoing */
function complaint(outgoing) {
  const again = el("button", {
    type: "button",
    class: "link-button",
    text: t("Try again"),
    data: { act: "again", key: "again" },
  });
  const discard = el("button", {
    type: "button",
    class: "link-button",
    text: t("Discard"),
    data: { act: "discard", key: "discard" },
  });
  return el(
    "div",
    { class: "foot" },
    el("span", { class: "mark" }, icon("alert"), el("span", { text: outgoing.error, dir: "auto" })),
    again,
    discard,
  );
}
