"""A Django site that chatmaster asks by HTTP: its session is the login, and a view decides what may be said.

    export HOOKS_SECRET=whsec_$(openssl rand -base64 32)
    uvicorn backend_django:app --port 8001                     # in the folder of this file
    chatctl start --set hooks.secret=$HOOKS_SECRET --set hooks.headers=cookie \
        --set hooks.handshake=http://127.0.0.1:8001/chat/handshake --set hooks.say=http://127.0.0.1:8001/chat/say
    (then open http://127.0.0.1:8001/login?user=ada, which leads to the chat's own page)

The site and the chat are programs of their own; they share the host, and so the cookie. The same views can be written
in any language. Needs `django`, and `chatmaster` for `signatures.verify` alone.
"""

import json
import os
from collections.abc import Callable

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from chatmaster import signatures

SECRET = os.environ["HOOKS_SECRET"]
CHAT = os.environ.get("CHAT_URL", "http://127.0.0.1:8000/")
USERS = {"ada": {"name": "Ada Lovelace", "role": "moderator"}, "bob": {"name": "Bob"}}

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY", "only for this example"),
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
)

View = Callable[[HttpRequest], HttpResponse]


def asked_by_the_chat(view: View) -> View:
    """Let only questions through that the chat has signed."""

    @csrf_exempt
    def checked(request: HttpRequest) -> HttpResponse:
        try:
            signatures.verify(request.headers, request.body, secret=SECRET)
        except signatures.WrongSignature as error:
            return HttpResponse(str(error), status=401)
        return view(request)

    return checked


@asked_by_the_chat
def handshake(request: HttpRequest) -> HttpResponse:
    """Who opens a connection? `request.session` is the visitor's, since the chat passes the cookie on."""
    user = request.session.get("user")
    if user is None:
        return JsonResponse({"allow": False, "status": 401, "reason": "log in first"})
    return JsonResponse({"allow": True, "user": user, "session": USERS[user]})


@asked_by_the_chat
def say(request: HttpRequest) -> HttpResponse:
    """May this be said?"""
    question = json.loads(request.body)
    text = question["text"] or ""
    if "http://" in text and question["person"]["role"] == "user":
        return JsonResponse({"allow": False, "reason": "only moderators may post links"})
    return JsonResponse({"allow": True, "text": text.replace(":)", "🙂") if text else None})


def log_in(request: HttpRequest) -> HttpResponse:
    """Your own login comes here."""
    user = request.GET.get("user", "")
    if user not in USERS:
        return HttpResponse("there is no such user", status=401)
    request.session["user"] = user
    return HttpResponseRedirect(CHAT)


urlpatterns = [path("login", log_in), path("chat/handshake", handshake), path("chat/say", say)]
app = get_asgi_application()
