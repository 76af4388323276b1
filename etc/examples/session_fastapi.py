"""FastAPI's session cookie is the login of the chat, and who logs out is out of the chat at once.

    export SESSION_SECRET=$(openssl rand -hex 32)
    chatctl start etc/examples/session_fastapi.py
    (then open http://127.0.0.1:8000/login?user=ada, and http://127.0.0.1:8000/chat)

`SessionMiddleware` of Starlette signs the session into the cookie; `user_of` reads the same. Needs `fastapi` and
`itsdangerous`.
"""

import base64
import json
import os

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from itsdangerous import BadSignature, TimestampSigner
from starlette.middleware.sessions import SessionMiddleware

from chatmaster import Accept, Chat, HandshakeRequest, Refuse, Worker
from workers.chat import HelloRequest

SECRET = os.environ["SESSION_SECRET"]
MAX_AGE = 3600  # seconds
USERS = {"ada": "Ada Lovelace", "bob": "Bob"}

site = FastAPI()
site.add_middleware(SessionMiddleware, secret_key=SECRET, session_cookie="session", max_age=MAX_AGE)
chat = Chat("websocket://127.0.0.1:8000", http=site)
worker = chat.worker
worker.keep_headers = ["cookie"]  # on_hello looks at it again


def user_of(cookies: dict[str, str]) -> str | None:
    """The user of a session cookie; None for none, for a forged one and for one that is over."""
    try:
        data = TimestampSigner(SECRET).unsign(cookies.get("session", ""), max_age=MAX_AGE)
        return json.loads(base64.b64decode(data)).get("user")
    except (BadSignature, ValueError):
        return None


@worker.on_handshake
def login(request: HandshakeRequest) -> Accept | None:
    """Whoever is logged in is that user in the chat; everybody else is a guest."""
    user = user_of(request.cookies)
    return Accept(user=user, session={"name": USERS[user]}) if user in USERS else None


@chat.on_hello
def still_logged_in(hello: HelloRequest) -> Refuse | None:
    """A session may have ended since the handshake: clients say hello again, for example for a new name."""
    if not hello.person.guest and user_of(hello.request.cookies) != hello.person.user:
        return Refuse("log in again", code="unauthorized")
    return None


@site.get("/login")
async def log_in(request: Request, user: str) -> RedirectResponse:
    """Your own login comes here."""
    if user not in USERS:
        raise HTTPException(401, "there is no such user")
    request.session["user"] = user
    return RedirectResponse("/chat", status_code=303)


@site.get("/logout")
async def log_out(request: Request) -> dict[str, int]:
    """End the session, and the connections of the user on this worker (a Gateway ends those of all workers)."""
    user = request.session.pop("user", None)
    mine = [one for one in worker.connections.values() if user is not None and one.user == user]
    for connection in mine:
        connection.close(4001, "logged out")
    return {"connections": len(mine)}


@site.get("/chat")
async def page() -> HTMLResponse:
    return HTMLResponse(PAGE)


PAGE = """<!doctype html>
<title>Chat</title>
<ul id="log"></ul>
<script type="module">
  import { connect } from "/chat.js";
  const chat = connect(location.origin.replace(/^http/, "ws") + "/", { rooms: ["lobby"] });
  chat.on("welcome", ({ name }) => { document.title = name; });
  chat.on("message", ({ from, text }) => {
    const line = Object.assign(document.createElement("li"), { textContent: `${from.name}: ${text}` });
    document.querySelector("#log").append(line);
  });
</script>
"""

if __name__ == "__main__":
    Worker.run_all()
