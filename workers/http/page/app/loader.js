/** Owns asking the server for what the page shows: history, members, the inbox. What failed is asked again when needed. */
/** @import { Conversation } from "./conversation.js" */
/** @import { App } from "./main.js" */
import { reasonOf } from "./outbox.js";
import { t } from "./words.js";

const PAGE = 50;
const LARGE_PAGE = 100; // what the server gives at most
const MOST_UNREAD = 500; // log entries that a room begins with, so that the first new message is there
const SHORTLY_AFTER = 30; // ms
const INBOX_PAGE = 100;
const AGAIN_AFTER = 200; // ms
const INBOX_PAGES = 5; // at the start, while there is something unread further up

export class Loader {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    this.asking = new Set(); // rooms whose members are being asked for
    this.stale = new Set(); // rooms whose messages are about to be asked for again
  }

  /**
   * Changes of messages were missed: ask again how those that are shown stand now, once for all gaps of a resume.
   * @param {string} room
   */
  againSoon(room) {
    if (this.stale.has(room)) return;
    this.stale.add(room);
    setTimeout(() => {
      this.stale.delete(room);
      this.again(room).catch((error) => error.code !== "ended" && this.app.toast(reasonOf(error)));
    }, AGAIN_AFTER);
  }

  /** @param {string} room */
  async again(room) {
    const { chat, model } = this.app;
    const first = Math.min(...model.homesOf(room).flatMap((one) => [...one.byOffset.keys()]));
    for (let before, more = true; more && (before ?? Infinity) > first; ) {
      const page = await chat.history(room, { before, limit: INBOX_PAGE });
      model.stand(room, page.messages);
      before = page.messages[0]?.offset;
      more = page.more && page.messages.length > 0;
    }
  }

  /**
   * The latest messages of a conversation that is opened for the first time: from its first new one on.
   * @param {Conversation} conversation
   */
  async latest(conversation) {
    if (conversation.loaded || conversation.loading) return;
    if (conversation.direct) await this.olderOfInbox(conversation);
    else await this.whileLoading(conversation, () => this.fromFirstNew(conversation));
  }

  /**
   * What is shown begins at the first new message: only when that is here, the conversation counts as loaded.
   * @param {Conversation} conversation
   */
  async fromFirstNew(conversation) {
    const page = conversation.unread < PAGE ? PAGE : LARGE_PAGE;
    let oldest = await this.page(conversation, undefined, page);
    try {
      for (let count = page; conversation.lacksNew(oldest) && count < MOST_UNREAD; count += LARGE_PAGE)
        oldest = await this.page(conversation, oldest, LARGE_PAGE);
    } finally {
      conversation.loaded = true;
    }
  }

  /**
   * All that is above what is here, up to the first new message, however much that is.
   * @param {Conversation} conversation
   */
  async toFirstNew(conversation) {
    conversation.stuck = false;
    while (conversation.lacksNew() && !conversation.stuck) {
      if (conversation.loading) await new Promise((resolve) => setTimeout(resolve, SHORTLY_AFTER));
      else await this.older(conversation, LARGE_PAGE);
    }
  }

  /** @param {Conversation} conversation */
  async older(conversation, limit = PAGE) {
    if (conversation.loading || !conversation.more) return;
    if (conversation.direct) await this.olderOfInbox(conversation);
    else await this.whileLoading(conversation, () => this.page(conversation, conversation.first, limit));
  }

  /**
   * Load until the message at `offset` is here. Returns whether it is; false: the server has it no more, or it is of another
   * conversation.
   * @param {Conversation} conversation
   * @param {number} offset
   */
  async until(conversation, offset) {
    if (conversation.byOffset.has(offset)) return true;
    const log = this.app.model.logOf(conversation);
    const { messages } = await this.app.chat.history(log, { before: offset + 1, limit: 1 });
    const entry = messages.find((one) => one.offset === offset);
    if (entry?.type !== "message" || this.app.model.homeOf(entry) !== conversation) return false;
    conversation.stuck = false;
    while (!conversation.byOffset.has(offset) && conversation.more && !conversation.stuck) {
      if (conversation.loading) await new Promise((resolve) => setTimeout(resolve, SHORTLY_AFTER));
      else await this.older(conversation, LARGE_PAGE);
    }
    if (conversation.stuck) throw new Error(t("Earlier messages could not be loaded"));
    return conversation.byOffset.has(offset);
  }

  /**
   * Returns the offset of the oldest entry that came; -1: none did.
   * @param {Conversation} conversation
   * @param {number | undefined} before
   * @param {number} limit
   */
  async page(conversation, before, limit) {
    const { segment } = conversation;
    const answer = await this.app.chat.history(conversation.id, { before, limit });
    if (conversation.segment === segment) this.app.model.addPage(conversation, answer);
    return answer.messages[0]?.offset ?? -1;
  }

  /**
   * One log holds the messages with everybody: read on until something of this one comes, at first also its new ones.
   * @param {Conversation} conversation
   */
  async olderOfInbox(conversation) {
    await this.whileLoading(conversation, async () => {
      const had = conversation.items.length;
      const { inbox } = this.app.model;
      const lacksNew = (/** @type {number} */ pages) =>
        !conversation.loaded && pages < INBOX_PAGES && inbox.first > inbox.readTo + 1;
      for (let pages = 0; inbox.more && (conversation.items.length === had || lacksNew(pages)); pages += 1)
        await this.inboxPage();
      conversation.loaded = true;
      conversation.more = this.app.model.inbox.more;
    });
  }

  /**
   * @param {Conversation} conversation
   * @param {() => Promise<unknown>} work
   */
  async whileLoading(conversation, work) {
    conversation.loading = true;
    this.app.model.changed("messages", conversation);
    try {
      await work();
    } catch (/** @type {any} */ error) {
      if (error.code !== "ended") this.app.toast(reasonOf(error));
      conversation.stuck = true;
    } finally {
      conversation.loading = false;
      this.app.model.changed("messages", conversation);
    }
  }

  /** The list of people to whom one has written lately, and what is unread. */
  async inbox() {
    const { inbox } = this.app.model;
    try {
      for (
        let pages = 0;
        pages < INBOX_PAGES && inbox.more && (!inbox.loaded || inbox.first > inbox.readTo + 1);
        pages += 1
      ) {
        await this.inboxPage();
      }
    } catch {
      // It is asked for again when a conversation is opened.
    }
    this.app.model.changed("list");
  }

  async inboxPage() {
    const { inbox, me } = this.app.model;
    const before = inbox.first === Infinity ? undefined : inbox.first;
    this.app.model.addInboxPage(await this.app.chat.history(`@${me}`, { before, limit: INBOX_PAGE }));
  }

  /** @param {Conversation} conversation */
  async members(conversation) {
    if (conversation.direct || !conversation.joined || this.asking.has(conversation.id)) return;
    this.asking.add(conversation.id);
    try {
      for (let tries = 0, before = -1; tries < 3 && before !== conversation.comings; tries += 1) {
        before = conversation.comings; // who comes meanwhile may be missing from the answer
        this.app.model.setMembers(conversation, await this.app.chat.members(conversation.id));
      }
    } catch (/** @type {any} */ error) {
      if (error.code === "forbidden") conversation.membersNote = reasonOf(error);
      this.app.model.changed("people", conversation);
    } finally {
      this.asking.delete(conversation.id);
    }
  }
}
