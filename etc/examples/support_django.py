"""Support chat beside Django: the session cookie is the login, and a view writes into the chat by `AsyncGateway`.

    export CHATMASTER_STORE_URL=redis://127.0.0.1:6379/0      # the store of the chat, which the view needs, too
    chatctl start etc/examples/support_django.py
    (then open http://127.0.0.1:8000/login?user=ada)

Django runs in the same processes, on the same port. A customer may enter the own room alone, `support-<user>`. Needs
`django`. Sessions are in signed cookies, so the example has no database; another SESSION_ENGINE works as well.
"""

import os
from importlib import import_module
from pathlib import Path

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import path

from chatmaster import Accept, AsyncGateway, Chat, GatewayError, HandshakeRequest, Reject, Worker

STORE = os.environ["CHATMASTER_STORE_URL"]
CUSTOMERS = {"ada": "Ada Lovelace", "bob": "Bob"}

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY", "only for this example"),
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
)
chat = Chat("websocket://127.0.0.1:8000", http=get_asgi_application())
worker = chat.worker
gateway = AsyncGateway(STORE)


@worker.on_handshake(threaded=True)  # the session may be in a database
def login(request: HandshakeRequest) -> Accept | Reject:
    """The user of Django's session is the user of the chat; without one nobody comes in."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    user = store(request.cookies.get(settings.SESSION_COOKIE_NAME)).get("user")
    if user is None:
        return Reject(401, body="log in first")
    return Accept(user=user, session={"name": CUSTOMERS[user], "rooms": [f"support-{user}"]})


def log_in(request: HttpRequest) -> HttpResponse:
    """Your own login comes here."""
    user = request.GET.get("user", "")
    if user not in CUSTOMERS:
        return HttpResponse("there is no such user", status=401)
    request.session["user"] = user
    return HttpResponseRedirect(f"/?user={user}")


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(Path(__file__).with_name("support.html").read_bytes())


async def order(request: HttpRequest) -> HttpResponse:
    """An order: the customer reads of it in the chat at once, on whichever worker the connection is."""
    user = await request.session.aget("user")
    if user is None:
        return HttpResponse("log in first", status=401)
    try:
        await gateway.say(f"support-{user}", "Your order is on its way.", user="shop", name="The shop")
    except GatewayError as error:
        return JsonResponse({"error": str(error)}, status=503)
    return JsonResponse({"user": user})


urlpatterns = [path("", page), path("login", log_in), path("order", order)]

if __name__ == "__main__":
    Worker.run_all()
