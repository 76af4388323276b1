"""Rules between settings, and rules that a type cannot express: addresses, TLS pairs, tokens, the store's URL."""

from __future__ import annotations

import grp
import ipaddress
import json
import math
import os
import pwd
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from chatmaster import addresses, signatures
from chatmaster.config import web_address
from chatmaster.config.formatting import closest, shown
from chatmaster.errors import ChatmasterError, Fault
from chatmaster.runtime import privileges
from chatmaster.settings import Settings
from chatmaster.store import url as store_url
from chatmaster.tokens import ROLES

_SECRET_ALGORITHMS = ("HS256", "HS384", "HS512")
_KEY_ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip

SECRET_BYTES = 16  # a shorter secret can be found by trying, given one token
_ORIGIN = re.compile(r"\*|null|[A-Za-z0-9+.*-]+://[^/\s?#]+")
_HOST = re.compile(r"\*|(?:[A-Za-z0-9_.*-]+|\[[0-9A-Fa-f:.*]+\])(?::[0-9*]+)?")
# Letters of RFC 3986 and the place for the address to come back to; // would be another host.
_SITE_URL = re.compile(r"(?:https?://(?!/)|/(?!/))(?:\{return\}|[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%-])*")
_CONTACT = re.compile(r"mailto:[^\s@<>]+@[^\s@<>]+|https://[^\s/]+(?:/\S*)?")
_PUSH_HOST = re.compile(r"(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::[0-9]{1,5})?")
_SITE_URLS = ("login_url", "token_url", "logout_url")

_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_OWN_HEADERS = (
    "host", "content-", "transfer-", "connection", "keep-alive", "upgrade", "te", "trailer", "expect", "webhook-",
    "sec-websocket-", "proxy-",
)  # fmt: skip
HOOKS = ("handshake", "hello", "join", "say")
MOST_HEADERS = 8

# A key path, the value there ("" for a missing key), the allowed values.
_Complaint = tuple[str, str, str]


def check(settings: Settings, state_dir: Path, directory: Path, origins: Mapping[str, str]) -> list[Fault]:
    """All faults of a configuration whose values are allowed by their types."""
    checks: list[Callable[[], Iterator[_Complaint]]] = [
        lambda: _finite(settings),
        lambda: _listen(settings),
        lambda: _api(settings),
        lambda: _tls(settings, directory),
        lambda: _proxies(settings),
        lambda: _names(settings),
        lambda: _store(settings.store.url),
        lambda: _auth(settings),
        lambda: _hooks(settings),
        lambda: _site_urls(settings),
        lambda: _push(settings),
        lambda: _room_rules(settings),
        lambda: _accounts(settings),
        lambda: _paths(settings, state_dir),
    ]
    return [
        Fault(key, origins.get(key.partition("[")[0], "default"), found, allowed)
        for one in checks
        for key, found, allowed in one()
    ]


def _finite(settings: Settings) -> Iterator[_Complaint]:
    """`inf` and `nan`, which TOML allows, are not durations."""
    for section in settings.__struct_fields__:
        table = getattr(settings, section)
        for field in getattr(table, "__struct_fields__", ()):
            value = getattr(table, field)
            if isinstance(value, float) and not math.isfinite(value):
                yield f"{section}.{field}", str(value), "allowed: a finite number"


def _listen(settings: Settings) -> Iterator[_Complaint]:
    if not settings.server.listen:
        yield "server.listen", "[]", "allowed: one address or more"
    seen: set[str] = set()
    for index, text in enumerate(settings.server.listen):
        key = f"server.listen[{index}]"
        if text in seen:
            yield key, shown(text), "the address is listed twice"
        seen.add(text)
        if complaint := addresses.complaint(text, tls=bool(settings.server.tls_cert)):
            yield key, shown(text), complaint


def _api(settings: Settings) -> Iterator[_Complaint]:
    api = settings.api
    if not api.listen:
        if not api.public:
            yield "api.public", "false", "without api.listen the verbs would be served nowhere: name an address there"
        return
    if not (api.is_tcp or api.listen.startswith("unix:")) or addresses.complaint(api.address, tls=False):
        yield "api.listen", shown(api.listen), f"allowed: {addresses.API_FORMS}"
        return
    own = addresses.parse(api.address)
    for text in settings.server.listen:
        try:
            other = addresses.parse(text)
        except ValueError:
            continue
        if (own.host, own.port, own.path) == (other.host, other.port, other.path):
            yield "api.listen", shown(api.listen), "the address is in server.listen, too; the API needs one of its own"


def _tls(settings: Settings, directory: Path) -> Iterator[_Complaint]:
    pair = {"server.tls_cert": settings.server.tls_cert, "server.tls_key": settings.server.tls_key}
    for key, value in pair.items():
        if not value and any(pair.values()):
            yield key, '""', "server.tls_cert and server.tls_key only work together"
        elif value and not os.access(directory / value, os.R_OK):
            yield key, shown(value), "allowed: a readable PEM file"
        elif value and settings.master.user and os.geteuid() == 0 and not _may_be_read(directory / value, settings):
            user = settings.master.user
            yield key, shown(value), f"master.user {user} cannot read the file, which workers read as that user"


def _may_be_read(path: Path, settings: Settings) -> bool:
    try:
        return privileges.may_read(path, privileges.account(settings.master))
    except ChatmasterError:
        return True  # an unknown user is a fault of its own


def _proxies(settings: Settings) -> Iterator[_Complaint]:
    for index, text in enumerate(settings.server.trusted_proxies):
        try:
            if text != "unix":
                ipaddress.ip_network(text)
        except ValueError:
            allowed = 'allowed: a network, as 10.0.0.0/8 or ::1, or "unix" for clients of a unix: address'
            yield f"server.trusted_proxies[{index}]", shown(text), allowed


def _store(url: str) -> Iterator[_Complaint]:
    if url != "embedded" and (complaint := store_url.complaint(url)):
        # Not shown completely: a bad URL may contain a password anywhere.
        scheme, separator, _ = url.partition("://")
        found = f"a URL of the scheme {shown(scheme)}" if separator else "not a URL" if url else shown(url)
        yield "store.url", found, complaint


def _names(settings: Settings) -> Iterator[_Complaint]:
    for index, text in enumerate(settings.http.origins):
        if not _ORIGIN.fullmatch(text):
            allowed = "allowed: SCHEME://HOST or SCHEME://HOST:PORT as a browser sends it, * for any part"
            yield f"http.origins[{index}]", shown(text), allowed
    for index, text in enumerate(settings.http.hosts):
        if not _HOST.fullmatch(text):
            yield (
                f"http.hosts[{index}]",
                shown(text),
                "allowed: names, as chat.example.org or *.example.org",
            )


def _auth(settings: Settings) -> Iterator[_Complaint]:
    auth = settings.auth
    if auth.secret and len(auth.secret.encode()) < SECRET_BYTES:
        found = f"a secret of {len(auth.secret.encode())} bytes"
        yield "auth.secret", found, f"allowed: {SECRET_BYTES} or more random bytes; better 32"
    given = [key for key in ("secret", "public_key", "jwks") if getattr(auth, key)]
    if len(given) > 1:
        yield f"auth.{given[1]}", "given", "allowed: one of auth.secret, auth.public_key and auth.jwks"
    if auth.public_key and "-----BEGIN" not in auth.public_key:
        yield "auth.public_key", shown(auth.public_key), "allowed: a public key as PEM text, or a file with one"
    if auth.jwks and (complaint := _jwks_complaint(auth.jwks)):
        yield "auth.jwks", shown(auth.jwks.partition("?")[0]), complaint
    if auth.mode == "token" and not given and not settings.hooks.handshake:
        yield "auth.mode", '"token"', "tokens need auth.secret, auth.public_key or auth.jwks to be verified"
    fitting: tuple[str, ...] = _SECRET_ALGORITHMS
    if auth.jwks or auth.public_key:
        fitting = _KEY_ALGORITHMS if auth.public_key or "://" in auth.jwks[:8] else _KEY_ALGORITHMS + _SECRET_ALGORITHMS
    for index, name in enumerate(auth.algorithms):
        if name not in fitting:
            using = f"auth.{given[0]}" if given else "auth.secret"
            yield f"auth.algorithms[{index}]", shown(name), f"allowed with {using}: {', '.join(fitting)}"


def _hooks(settings: Settings) -> Iterator[_Complaint]:
    hooks = settings.hooks
    urls = {name: url for name in HOOKS if (url := getattr(hooks, name))}
    for name, url in urls.items():
        if complaint := web_address.complaint(url):
            yield f"hooks.{name}", shown(url), complaint
    try:
        length = len(signatures.secret_bytes(hooks.secret))
    except ValueError as error:
        yield "hooks.secret", "given", str(error)
        return
    if (urls or hooks.secret) and length < SECRET_BYTES:
        allowed = f"the questions are signed: {SECRET_BYTES} or more random bytes, better 32"
        yield "hooks.secret", f"a secret of {length} bytes", allowed
    if hooks.timeout >= settings.limits.handshake_timeout and hooks.handshake:
        yield "hooks.timeout", str(hooks.timeout), "allowed: less than limits.handshake_timeout"
    for index, name in enumerate(hooks.headers):
        if not _HEADER.fullmatch(name) or name.lower().startswith(_OWN_HEADERS):
            allowed = "allowed: a header that browsers send, as cookie; not one that belongs to the question itself"
            yield f"hooks.headers[{index}]", shown(name), allowed
    if len(hooks.headers) > MOST_HEADERS:
        yield "hooks.headers", f"{len(hooks.headers)} names", f"allowed: {MOST_HEADERS}"


def _jwks_complaint(jwks: str) -> str:
    if "://" in jwks[:8]:
        return web_address.complaint(jwks)
    try:
        found = json.loads(jwks)
    except (ValueError, RecursionError):
        return "allowed: a URL (https://…) of a JSON Web Key Set, or a readable file with one"
    if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
        return "the file has no JSON object with a list `keys`"
    return ""


def _site_urls(settings: Settings) -> Iterator[_Complaint]:
    """The addresses at the site that the page opens or fetches from: a wrong scheme would run as a script."""
    for key in _SITE_URLS:
        url = getattr(settings.auth, key)
        if url and not _is_site_url(url):
            allowed = (
                "allowed: https://HOST/PATH, http://HOST/PATH, or /PATH at the page's own host, without user and #"
            )
            yield f"auth.{key}", shown(url), allowed


def _push(settings: Settings) -> Iterator[_Complaint]:
    push = settings.push
    if push.contact and not _CONTACT.fullmatch(push.contact):
        yield "push.contact", shown(push.contact), "allowed: mailto:NAME@HOST, or an https:// address"
    for index, host in enumerate(push.hosts):
        if not _PUSH_HOST.fullmatch(host):
            allowed = "allowed: a host, as push.example.org, *.example.org or push.example.org:8443"
            yield f"push.hosts[{index}]", shown(host), allowed


def _is_site_url(url: str) -> bool:
    if not _SITE_URL.fullmatch(url):
        return False
    parts = urlsplit(url)
    try:
        return url.startswith("/") or (bool(parts.hostname) and parts.username is None and parts.port != 0)
    except ValueError:  # no number as the port
        return False


def _room_rules(settings: Settings) -> Iterator[_Complaint]:
    """A rule that is misspelt would match no user, and so keep out everybody."""
    allowed = f"allowed: * (everybody), role:{', role:'.join(ROLES)}, or a user id, where * is any part of it"
    for index, room in enumerate(settings.rooms):
        for key, rules in (("join", room.join), ("say", room.say)):
            for place, rule in enumerate(rules):
                if not _is_room_rule(rule):
                    yield f"rooms[{index}].{key}[{place}]", shown(rule), allowed


def _is_room_rule(rule: str) -> bool:
    """A user id may have colons, too: one is refused where it is a role with another prefix, or nearly `role:`."""
    prefix, colon, rest = rule.partition(":")
    if prefix == "role" and colon:
        return rest.casefold() in ROLES
    if colon and (rest.casefold() in ROLES or closest(prefix.casefold(), ["role"])):
        return False
    return bool(rule) and all(one in "_.:-%*" or one.isalnum() or unicodedata.category(one)[0] == "M" for one in rule)


def _accounts(settings: Settings) -> Iterator[_Complaint]:
    lookups: tuple[tuple[str, str, Callable[[str], object]], ...] = (
        ("user", settings.master.user, pwd.getpwnam),
        ("group", settings.master.group, grp.getgrnam),
    )
    for kind, name, find in lookups:
        try:
            if name:
                find(name)
        except KeyError:
            yield f"master.{kind}", shown(name), f"allowed: a {kind} of this machine"


def _paths(settings: Settings, state_dir: Path) -> Iterator[_Complaint]:
    try:
        str(state_dir).encode()
    except UnicodeEncodeError:
        yield "master.state_dir", ascii(str(state_dir)), "allowed: a path in the character set of the locale"
        return
    longest = state_dir / f"{settings.master.name}.store" / "store.sock"
    length = len(os.fsencode(longest))
    if length > addresses.MAX_UNIX_PATH:
        allowed = f"a unix socket's path may have {addresses.MAX_UNIX_PATH} bytes, {longest} has {length}"
        yield "master.state_dir", shown(str(state_dir)), allowed


def warnings(settings: Settings) -> list[str]:
    """Warnings about settings that are allowed but risky, one sentence each."""
    return [*_open_to_guests(settings), *_unencrypted(settings)]


def _open_to_guests(settings: Settings) -> Iterator[str]:
    if settings.auth.mode != "guest" or settings.server.app != Settings().server.app:
        return
    for text in settings.server.listen:
        address = addresses.parse(text)
        if not address.is_unix and not _is_loopback(address.host):
            yield (
                f"{text} can be reached from other machines, and every client may enter as a guest: "
                'auth.mode = "token" requires a token'
            )


def _unencrypted(settings: Settings) -> Iterator[str]:
    """Addresses whose answers decide who may do what, and that anybody on the way can change."""
    for name in HOOKS:
        url = getattr(settings.hooks, name)
        if url.startswith("http://") and not _is_loopback(web_address.host(url)):
            yield f"hooks.{name} begins with http://: whoever can change what passes on the way decides; use https://"
    if settings.auth.jwks.startswith("http://") and not _is_loopback(web_address.host(settings.auth.jwks)):
        yield "auth.jwks begins with http://: whoever can change what passes on the way can sign tokens; use https://"
    for key in _SITE_URLS:
        url = getattr(settings.auth, key)
        if url.startswith("http://") and not _is_loopback(urlsplit(url).hostname or ""):
            yield f"auth.{key} begins with http://: whoever is on the way to {urlsplit(url).netloc} can take tokens"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
