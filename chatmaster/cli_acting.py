"""The commands of chatctl that act as the operator: speak, moderate, sign a token."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import click

from chatmaster.cli_instance import Instance, overrides, warn
from chatmaster.contract import ExitCode
from chatmaster.errors import Refused


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
    ]


@click.command()
@click.argument("room")
@click.argument("text")
@click.pass_obj
def say(instance: Instance, room: str, text: str) -> None:
    """Say something in a room, as the operator."""
    instance.query("say", {"room": room, "text": text})


@click.command()
@click.argument("user")
@click.option("--room", help="only out of this room; without it, their connections are closed")
@click.option("--reason", help="told to the user, kept in the audit")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@click.pass_obj
def kick(instance: Instance, user: str, room: str | None, reason: str | None, as_json: bool) -> None:
    """Close the connections of USER, an id as `who` and `connections` show it."""
    try:
        count = _kick(instance, user, room, reason)
    except Refused:
        if as_json:
            click.echo("[]")
        raise
    click.echo(f"kicked {user}{f' out of {room}' if room else ''}: {_connections(count)}", err=True)
    if as_json:
        click.echo(json.dumps([{"user": user, "room": room, "connections": count}], ensure_ascii=False))


def _kick(instance: Instance, user: str, room: str | None, reason: str | None) -> int:
    """How many connections it met, as far as one can see. Raises Refused where there is nobody to kick."""
    room = room and unicodedata.normalize("NFC", room)  # as it is kept
    answer = instance.call("query", {"what": "connections", "args": {"user": user}})
    found = answer.get("rows", [])
    there = [row for row in found if room is None or room in row.get("rooms", ())]
    if found and not there and not answer.get("missing"):
        raise Refused(ExitCode.FAILED, f"{user} is connected, but not in {room}")
    given = {"user": user, "room": room, "reason": reason}
    instance.query("kick", {key: value for key, value in given.items() if value is not None})
    return len(there)


def _connections(count: int) -> str:
    if not count:
        return "no connection is in yet; what is just coming in is put out"
    return f"{count} connection{'s' * (count != 1)}"


def _moderation(name: str, text: str, *, lasts: bool) -> click.Command:
    """One command of the kind `ban USER [--room R] [--seconds S] [--reason TEXT]`."""

    def act(instance: Instance, user: str, **given: Any) -> None:
        instance.query(name, {"user": user, **{key: value for key, value in given.items() if value is not None}})

    options: list[click.Parameter] = [
        click.Argument(["user"]),
        click.Option(["--room"], help="only in this room; without it, everywhere"),
        click.Option(["--reason"], help="told to the user, kept in the audit"),
    ]
    if lasts:
        options.insert(
            2, click.Option(["--seconds"], type=click.FloatRange(min=0), help="for how long; without it, for ever")
        )
    return click.Command(name, params=options, callback=click.pass_obj(act), help=text)


@click.command()
@click.argument("user")
@click.option("--ttl", type=click.FloatRange(min=0, min_open=True), default=3600.0, show_default=True, help="seconds")
@click.option("--moderator", is_flag=True, help="with the role moderator")
@overrides
@click.pass_obj
def token(instance: Instance, user: str, ttl: float, moderator: bool, overrides: tuple[str, ...]) -> None:
    """Make a signed token for USER, with the configured secret."""
    from chatmaster import cli_token

    click.echo(cli_token.make(warn(instance.load(overrides)).settings.auth, user, ttl=ttl, moderator=moderator))
