"""A customized chat: a word filter, rooms for members, and a bot that answers.

The chat keeps all its functions; the hooks accept, change or refuse.

    chatctl start etc/examples/bot.py
    (join the room `lobby` and say: !time)
"""

import time

from chatmaster import Worker
from workers.chat import Chat, JoinRequest, Kept, Refuse, WordFilter

chat = Chat()
chat.on_say(WordFilter(["darn", "heck"]))


@chat.on_join
def members_only(request: JoinRequest) -> Refuse | None:
    """Refuse guests in the rooms for members."""
    if request.room.startswith("members-") and request.person.guest:
        return Refuse("this room is for members")
    return None


@chat.on_kept
async def answer(message: Kept) -> None:
    """Called once for everything stored: messages, changes of messages, and the bot's own messages."""
    said = message.message
    if said["type"] == "message" and said["from"]["user"] != "bot:clock" and said.get("text") == "!time":
        clock = time.strftime("%H:%M:%S", time.gmtime(message.time / 1000))
        await chat.say(message.room, f"It is {clock} UTC", user="bot:clock", name="Clock")


worker = chat.worker

if __name__ == "__main__":
    Worker.run_all()
