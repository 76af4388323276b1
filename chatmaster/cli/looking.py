"""The commands of chatctl that list what the workers know: connections, rooms, members, new messages, the audit."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import click

from chatmaster.cli import cluster
from chatmaster.cli.instance import Instance, as_json, which_worker


def commands() -> list[click.Command]:
    """All commands of this file."""
    return [connections, rooms, who, tail, audit]


@click.command()
@click.option("--room", help="only connections in this room")
@click.option("--user", help="only connections of this user")
@click.option("--cluster", "all_hosts", is_flag=True, help="of all hosts that share the store")
@which_worker
@as_json
@click.pass_obj
def connections(
    instance: Instance, room: str | None, user: str | None, all_hosts: bool, worker: str | None, as_json: bool
) -> None:
    """List the connections of all workers."""
    if all_hosts:
        rows = cluster.connections(instance, {"room": room or "", "user": user or ""}, worker)
        _show("connections", rows, as_json=as_json)
        return
    _rows(instance, "connections", {"room": room, "user": user}, worker, as_json=as_json)


@click.command()
@which_worker
@as_json
@click.pass_obj
def rooms(instance: Instance, worker: str | None, as_json: bool) -> None:
    """List the rooms that workers follow: with members, recently left, or followed by `tail`; also inboxes (@USER)."""
    _rows(instance, "rooms", {}, worker, as_json=as_json)


@click.command()
@click.argument("room")
@which_worker
@as_json
@click.pass_obj
def who(instance: Instance, room: str, worker: str | None, as_json: bool) -> None:
    """List the members of a room; connections that a program has bound to no user are one row together."""
    _rows(instance, "who", {"room": room}, worker, as_json=as_json)


@click.command()
@click.argument("room")
@which_worker
@as_json
@click.pass_obj
def tail(instance: Instance, room: str, worker: str | None, as_json: bool) -> None:
    """Print new messages of a room until Ctrl-C."""
    from chatmaster.cli import tables

    for row in instance.follow("tail", {"room": room}, worker=worker):
        click.echo(json.dumps(row, ensure_ascii=False) if as_json else tables.message(row))
        sys.stdout.flush()


@click.command()
@click.option("--room", help="only actions in this room")
@click.option("--user", help="only actions against this user")
@which_worker
@as_json
@click.pass_obj
def audit(instance: Instance, room: str | None, user: str | None, worker: str | None, as_json: bool) -> None:
    """Show who moderated whom, when and why."""
    _rows(instance, "audit", {"room": room, "user": user}, worker, as_json=as_json)


def _rows(instance: Instance, what: str, args: Mapping[str, Any], worker: str | None, *, as_json: bool) -> None:
    rows = instance.query(what, {key: value for key, value in args.items() if value is not None}, worker=worker)
    _show(what, rows, as_json=as_json)


def _show(what: str, rows: list[dict[str, Any]], *, as_json: bool) -> None:
    from chatmaster.cli import tables

    rows = tables.merged(what, rows)
    click.echo(json.dumps(rows, indent=2, ensure_ascii=False) if as_json else tables.render(what, rows))
