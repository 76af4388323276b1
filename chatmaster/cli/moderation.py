"""The commands of chatctl that act as the operator: send a message, moderate, sign a token."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import click

from chatmaster import tokens
from chatmaster.cli import tables
from chatmaster.cli.instance import MOST_SECONDS, Duration, Instance, as_json, overrides, warn, which_worker
from chatmaster.cli.tables import duration
from chatmaster.contract import ExitCode
from chatmaster.errors import RefusedByMaster, UsageError
from chatmaster.plural import counted
from chatmaster.settings import Auth

_SPAN = Duration(min=0, min_open=True, max=MOST_SECONDS)
MOST_KICKED = 1000  # connections for each command


def commands() -> list[click.Command]:
    """All commands of this file."""
    return [
        say,
        token,
        kick,
        _moderation("ban", "Ban USER: a user id, as `who` and `connections` show it.", lasts=True),
        _moderation(
            "mute", "Mute USER, who can still read: a user id, as `who` and `connections` show it.", lasts=True
        ),
        _moderation("unban", "Lift a ban.", lasts=False),
        _moderation("unmute", "Lift a mute.", lasts=False),
        _list("bans", "ban", "List the bans: who, by whom, until when and why."),
        _list("mutes", "mute", "List the mutes: who, by whom, until when and why."),
    ]


def _report(rows: list[dict[str, Any]], text: str, *, as_json: bool) -> None:
    """Print what was done: a sentence on stderr, the rows as JSON on stdout."""
    click.echo(text, err=True)
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))


@click.command()
@click.argument("room")
@click.argument("text")
@which_worker
@as_json
@click.pass_obj
def say(instance: Instance, room: str, text: str, worker: str | None, as_json: bool) -> None:
    """Send a message to a room as the operator. A program of your own sends TEXT to the room unchanged.

    In a program of several Workers, the room of that name of each Worker gets the message.
    """
    rows = instance.query("say", {"room": room, "text": text}, worker=worker) or [{"room": room}]
    numbers = "".join(f" (message {row['offset']:,})" for row in rows if "offset" in row)
    whose = " of " + " and ".join(sorted(row["worker"] for row in rows)) if "worker" in rows[0] else ""
    _report(rows, f"said in {rows[0].get('room', room)}{whose}{numbers}", as_json=as_json)


@click.command()
@click.argument("user")
@click.option("--room", help="remove the user from this room only; without it, close the connections")
@click.option("--reason", help="the reason, shown to the user and in the audit")
@which_worker
@as_json
@click.pass_obj
def kick(
    instance: Instance, user: str, room: str | None, reason: str | None, worker: str | None, as_json: bool
) -> None:
    """Close the connections of USER: a user id, as `who` and `connections` show it.

    In a program of your own USER may also be the id of one connection.
    """
    try:
        count = _kick(instance, user, room, reason, worker)
    except RefusedByMaster:
        if as_json:
            click.echo("[]")
        raise
    row = {"user": user, "room": room, "connections": count}
    _report([row], f"kicked {user}{f' out of {room}' if room else ''}: {_connections(count)}", as_json=as_json)


def _kick(instance: Instance, user: str, room: str | None, reason: str | None, worker: str | None) -> int:
    """Kick a user; return the number of known connections. Raises RefusedByMaster if there is nobody to kick."""
    room = room and unicodedata.normalize("NFC", room)  # the form in which room names are stored
    found, missing = _connections_of(instance, user, worker)
    there = [row for row in found if room is None or room in row.get("rooms", ())]
    if found and not there and not missing:
        raise RefusedByMaster(ExitCode.FAILED, f"{user} is connected, but not in {room}")
    ids = [row["id"] for row in there][:MOST_KICKED]  # for a program of one's own, which may have no users
    given = {"user": user, "room": room, "reason": reason, "connections": ids}
    given = {key: value for key, value in given.items() if value is not None}
    # Only the Workers that have a connection: the others would report that there is nobody.
    theirs: set[str | None] = {str(row["worker"]) for row in there if "worker" in row}
    for one in theirs or {worker}:
        instance.query("kick", given, worker=one)
    return len(there)


def _connections_of(instance: Instance, user: str, worker: str | None) -> tuple[list[dict[str, Any]], list[int]]:
    """The open connections of a user, or the connection with that id; and the workers that did not answer."""
    answer = instance.call("query", {"what": "connections", "args": {"user": user}, "worker": worker})
    return answer.get("rows", []), answer.get("missing", [])


def _connections(count: int) -> str:
    if not count:
        return "no open connection; connections that are being opened are closed"
    return counted(count, "connection")


_DONE = {"ban": "banned", "mute": "muted", "unban": "unbanned", "unmute": "unmuted"}


def _moderation(name: str, text: str, *, lasts: bool) -> click.Command:
    """Build a command like `ban USER [--room R] [--seconds S] [--reason TEXT]`."""

    def act(instance: Instance, user: str, worker: str | None, as_json: bool, **given: Any) -> None:
        given = {key: value for key, value in given.items() if value not in (None, False)}
        found = _connections_of(instance, user, worker)[0] if lasts else []
        rows = instance.query(name, {"user": user, **given}, worker=worker)
        where = f" in {given['room']}" if given.get("room") else " everywhere"
        if rows and rows[0].get("lifted") is False:
            if as_json:
                click.echo(json.dumps(rows, ensure_ascii=False))
            raise RefusedByMaster(
                ExitCode.FAILED, f"{user} was not {_DONE[name.removeprefix('un')]}{where}: nothing changed"
            )
        row: dict[str, Any] = rows[0] if rows else {"user": user, **given}
        told = f"{_DONE[name]} {user}{where}"
        if lasts:
            row |= {"room": given.get("room", ""), "seconds": given.get("seconds"), "connections": len(found)}
            told += f" for {duration(given['seconds'])}" if given.get("seconds") else " for ever"
            if user.startswith("guest:"):
                told += f"; the {name} of a guest holds for every guest of the same address"
            told += f"; the user has {counted(len(found), 'connection')}" if found else "; the user is not connected"
        _report([row], told, as_json=as_json)

    options: list[click.Parameter] = [
        click.Argument(["user"]),
        click.Option(["--room"], help="only in this room; default: everywhere"),
        click.Option(["--reason"], help="the reason, shown to the user and in the audit"),
        click.Option(["--worker"], metavar="NAME", help="only this chat of a program that has several"),
        click.Option(["--json", "as_json"], is_flag=True, help="print JSON"),
    ]
    if lasts:
        options.insert(2, click.Option(["--seconds"], type=_SPAN, help="duration; default: for ever"))
        ahead = "USER is the id of somebody who is away, though another has it as a name"
        options.insert(3, click.Option(["--ahead"], is_flag=True, help=ahead))
    return click.Command(name, params=options, callback=click.pass_obj(act), help=text)


def _list(name: str, kind: str, text: str) -> click.Command:
    """Build the command `bans` or `mutes`."""

    def show(instance: Instance, worker: str | None, as_json: bool, **given: Any) -> None:
        asked = {"kind": kind, **{key: value for key, value in given.items() if value is not None}}
        rows = instance.query("sanctions", asked, worker=worker)
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False) if as_json else tables.render(name, rows))

    options: list[click.Parameter] = [
        click.Option(["--room"], help='only those of this room; "": only those that apply everywhere'),
        click.Option(["--user"], help="only those of this user"),
        click.Option(["--worker"], metavar="NAME", help="only this chat of a program that has several"),
        click.Option(["--json", "as_json"], is_flag=True, help="print JSON"),
    ]
    return click.Command(name, params=options, callback=click.pass_obj(show), help=text)


@click.command()
@click.argument("user")
@click.option("--ttl", type=_SPAN, default=3600.0, show_default=True, help="seconds")
@click.option("--moderator", is_flag=True, help="give the token the role moderator")
@overrides
@click.pass_obj
def token(instance: Instance, user: str, ttl: float, moderator: bool, overrides: tuple[str, ...]) -> None:
    """Print a token for USER, signed with the configured secret.

    The page takes it from a link: http://HOST:PORT/#token=TOKEN
    """
    click.echo(make_token(warn(instance.load(overrides)).settings.auth, user, ttl=ttl, moderator=moderator))


def make_token(auth: Auth, user: str, *, ttl: float, moderator: bool) -> str:
    """A JSON Web Token for `user`, valid for `ttl` seconds. Raises UsageError without a secret to sign with."""
    if not auth.secret:
        holder = (
            "the private key that belongs to auth.public_key, which chatctl does not have"
            if auth.public_key
            else "the private keys that belong to auth.jwks, which chatctl does not have"
            if auth.jwks
            else "auth.secret, which is not set: export CHATMASTER_AUTH_SECRET=$(openssl rand -hex 32), here and where "
            "the server is started (a running one: stop, start), or set auth.secret in the configuration"
        )
        raise UsageError(f"a token is signed with {holder}")
    return tokens.sign(
        user,
        secret=auth.secret,
        ttl=max(1.0, ttl),
        role="moderator" if moderator else "user",
        issuer=auth.issuer,
        audience=auth.audience,
        algorithm=auth.algorithms[0] if auth.algorithms else "HS256",
    )
