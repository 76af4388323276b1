"""The commands of chatctl that act as the operator: speak, moderate, sign a token."""

from __future__ import annotations

import json
import time
import unicodedata
import warnings
from typing import Any

import click

from chatmaster.cli import tables
from chatmaster.cli.instance import MOST_SECONDS, Duration, Instance, overrides, warn, which_worker
from chatmaster.cli.tables import duration
from chatmaster.contract import ExitCode
from chatmaster.errors import RefusedByMaster, UsageError
from chatmaster.plural import counted
from chatmaster.settings import Auth

_SPAN = Duration(min=0, min_open=True, max=MOST_SECONDS)
MOST_KICKED = 1000  # connections by one order


def commands() -> list[click.Command]:
    """All of them."""
    return [
        say,
        token,
        kick,
        _moderation("ban", "Keep USER out, an id as `who` and `connections` show it.", lasts=True),
        _moderation("mute", "Let USER read, but not say: an id as `who` and `connections` show it.", lasts=True),
        _moderation("unban", "End a ban.", lasts=False),
        _moderation("unmute", "End a mute.", lasts=False),
        _list("bans", "ban", "List who is banned, by whom, until when and why."),
        _list("mutes", "mute", "List who is muted, by whom, until when and why."),
    ]


as_json = click.option("--json", "as_json", is_flag=True, help="print JSON")


def _report(rows: list[dict[str, Any]], text: str, *, as_json: bool) -> None:
    """What was done: a sentence on stderr, and the rows on stdout for programs."""
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
    """Say something in a room, as the operator. In a program of your own TEXT is sent to the room as it is.

    Of a program of several Workers, to the room of that name of each.
    """
    rows = instance.query("say", {"room": room, "text": text}, worker=worker) or [{"room": room}]
    numbers = "".join(f" (message {row['offset']:,})" for row in rows if "offset" in row)
    whose = " of " + " and ".join(sorted(row["worker"] for row in rows)) if "worker" in rows[0] else ""
    _report(rows, f"said in {rows[0].get('room', room)}{whose}{numbers}", as_json=as_json)


@click.command()
@click.argument("user")
@click.option("--room", help="only out of this room; without it, their connections are closed")
@click.option("--reason", help="told to the user, kept in the audit")
@which_worker
@as_json
@click.pass_obj
def kick(
    instance: Instance, user: str, room: str | None, reason: str | None, worker: str | None, as_json: bool
) -> None:
    """Close the connections of USER, an id as `who` and `connections` show it.

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
    """How many connections it met, as far as one can see. Raises Refused where there is nobody to kick."""
    room = room and unicodedata.normalize("NFC", room)  # as it is kept
    found, missing = _connections_of(instance, user, worker)
    there = [row for row in found if room is None or room in row.get("rooms", ())]
    if found and not there and not missing:
        raise RefusedByMaster(ExitCode.FAILED, f"{user} is connected, but not in {room}")
    ids = [row["id"] for row in there][:MOST_KICKED]  # which a program of one's own is told: it may have no users
    given = {"user": user, "room": room, "reason": reason, "connections": ids}
    given = {key: value for key, value in given.items() if value is not None}
    # Of several Workers those that have one of them: the others would say that there is nobody.
    theirs: set[str | None] = {str(row["worker"]) for row in there if "worker" in row}
    for one in theirs or {worker}:
        instance.query("kick", given, worker=one)
    return len(there)


def _connections_of(instance: Instance, user: str, worker: str | None) -> tuple[list[dict[str, Any]], list[int]]:
    """The open connections of a user, or the one with that id, and the workers that did not say."""
    answer = instance.call("query", {"what": "connections", "args": {"user": user}, "worker": worker})
    return answer.get("rows", []), answer.get("missing", [])


def _connections(count: int) -> str:
    if not count:
        return "no connection is in yet; what is just coming in is put out"
    return counted(count, "connection")


_DONE = {"ban": "banned", "mute": "muted", "unban": "unbanned", "unmute": "unmuted"}


def _moderation(name: str, text: str, *, lasts: bool) -> click.Command:
    """One command of the kind `ban USER [--room R] [--seconds S] [--reason TEXT]`."""

    def act(instance: Instance, user: str, worker: str | None, as_json: bool, **given: Any) -> None:
        given = {key: value for key, value in given.items() if value is not None}
        found = _connections_of(instance, user, worker)[0] if lasts else []
        rows = instance.query(name, {"user": user, **given}, worker=worker)
        where = f" in {given['room']}" if given.get("room") else " everywhere"
        if rows and rows[0].get("lifted") is False:
            if as_json:
                click.echo(json.dumps(rows, ensure_ascii=False))
            raise RefusedByMaster(
                ExitCode.FAILED, f"{user} was not {_DONE[name.removeprefix('un')]}{where}: nothing is changed"
            )
        row: dict[str, Any] = rows[0] if rows else {"user": user, **given}
        told = f"{_DONE[name]} {user}{where}"
        if lasts:
            row |= {"room": given.get("room", ""), "seconds": given.get("seconds"), "connections": len(found)}
            told += f" for {duration(given['seconds'])}" if given.get("seconds") else " for ever"
            told += f"; {counted(len(found), 'connection')} of theirs open" if found else "; they are not connected now"
        _report([row], told, as_json=as_json)

    options: list[click.Parameter] = [
        click.Argument(["user"]),
        click.Option(["--room"], help="only in this room; without it, everywhere"),
        click.Option(["--reason"], help="told to the user, kept in the audit"),
        click.Option(["--worker"], metavar="NAME", help="this chat, of a program that has several"),
        click.Option(["--json", "as_json"], is_flag=True, help="print JSON"),
    ]
    if lasts:
        options.insert(2, click.Option(["--seconds"], type=_SPAN, help="for how long; without it, for ever"))
    return click.Command(name, params=options, callback=click.pass_obj(act), help=text)


def _list(name: str, kind: str, text: str) -> click.Command:
    """`bans` and `mutes`."""

    def show(instance: Instance, worker: str | None, as_json: bool, **given: Any) -> None:
        asked = {"kind": kind, **{key: value for key, value in given.items() if value is not None}}
        rows = instance.query("sanctions", asked, worker=worker)
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False) if as_json else tables.render(name, rows))

    options: list[click.Parameter] = [
        click.Option(["--room"], help='only those of this room; "": only those that hold everywhere'),
        click.Option(["--user"], help="only those of this user"),
        click.Option(["--worker"], metavar="NAME", help="this chat, of a program that has several"),
        click.Option(["--json", "as_json"], is_flag=True, help="print JSON"),
    ]
    return click.Command(name, params=options, callback=click.pass_obj(show), help=text)


@click.command()
@click.argument("user")
@click.option("--ttl", type=_SPAN, default=3600.0, show_default=True, help="seconds")
@click.option("--moderator", is_flag=True, help="with the role moderator")
@overrides
@click.pass_obj
def token(instance: Instance, user: str, ttl: float, moderator: bool, overrides: tuple[str, ...]) -> None:
    """Make a signed token for USER, with the configured secret."""
    click.echo(make_token(warn(instance.load(overrides)).settings.auth, user, ttl=ttl, moderator=moderator))


def make_token(auth: Auth, user: str, *, ttl: float, moderator: bool) -> str:
    """A JSON Web Token for `user`, good for `ttl` seconds. Raises UsageError where there is no secret to sign with."""
    if not auth.secret:
        holder = (
            "whoever has the private key of auth.public_key" if auth.public_key else "auth.secret, which is not set"
        )
        raise UsageError(f"a token is signed with {holder}")
    import jwt  # takes 0.1 s

    now = int(time.time())
    claims: dict[str, Any] = {"sub": user, "iat": now, "exp": now + round(ttl)}
    claims |= {"role": "moderator"} if moderator else {}
    claims |= {"iss": auth.issuer} if auth.issuer else {}
    claims |= {"aud": auth.audience} if auth.audience else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)  # `doctor` says it
        return jwt.encode(claims, auth.secret, algorithm=auth.algorithms[0] if auth.algorithms else "HS256")
