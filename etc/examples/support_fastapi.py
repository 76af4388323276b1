"""Support chat beside FastAPI: the application signs a token for its user, and the page talks to the chat with it.

    export CHATMASTER_AUTH_SECRET=$(openssl rand -hex 32)
    chatctl start etc/examples/support_fastapi.py --set auth.mode=token
    (then open http://127.0.0.1:8000/?user=ada, and in another window ?user=staff)

A customer may enter the own room alone, `support-<user>`; the staff may enter every one. Needs `fastapi`.
"""

import os
from pathlib import Path

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse

from chatmaster import Chat, Worker, tokens

SECRET = os.environ["CHATMASTER_AUTH_SECRET"]  # the same that the server verifies with
CUSTOMERS = {"ada": "Ada Lovelace", "bob": "Bob"}

site = FastAPI()
chat = Chat("websocket://127.0.0.1:8000", http=site)
worker = chat.worker


@site.get("/")
async def page() -> FileResponse:
    return FileResponse(Path(__file__).with_name("support.html"))


@site.get("/chat-token")
async def chat_token(user: str) -> dict[str, str]:
    """A token of ten minutes; the page asks again for each connection. Your login comes instead of `user`."""
    if user == "staff":
        return {"token": tokens.sign("staff", secret=SECRET, ttl=600, name="Support", role="moderator")}
    if user not in CUSTOMERS:
        raise HTTPException(401, "log in first")
    room = f"support-{user}"
    return {"token": tokens.sign(user, secret=SECRET, ttl=600, name=CUSTOMERS[user], rooms=[room])}


if __name__ == "__main__":
    Worker.run_all()
