"""A chat of one's own making: a word filter, a room for some, and a bot that answers.

Everything that the chat does by itself stays as it is; the hooks only have a say in it.

    chatctl start etc/examples/bot.py
    (join the room `lobby` and say: !time)
"""

import time

from workers import Worker
from workers.chat import Chat, JoinRequest, Kept, Refuse, WordFilter

chat = Chat()
chat.on_say(WordFilter(["darn", "heck"]))


@chat.on_join
def members_only(request: JoinRequest) -> Refuse | None:
    """Guests may look around, but not everywhere."""
    if request.room.startswith("members-") and request.person.guest:
        return Refuse("this room is for members")
    return None


@chat.on_kept
async def answer(message: Kept) -> None:
    """Called once for whatever the store has: messages, what changes them, and what this bot says itself."""
    said = message.message
    if said["type"] == "message" and said["from"]["user"] != "bot:clock" and said.get("text") == "!time":
        clock = time.strftime("%H:%M:%S", time.gmtime(message.time / 1000))
        await chat.say(message.room, f"It is {clock} UTC", user="bot:clock", name="Clock")


worker = chat.worker

if __name__ == "__main__":
    Worker.run_all()
