"""The commands of chatctl that reach the table of verbs: `call` for any of them, `apikey` for who may call by HTTP."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from chatmaster.cli.help_examples import with_examples
from chatmaster.cli.instance import Instance, which_worker
from chatmaster.errors import UsageError
from chatmaster.plural import counted


def commands() -> list[click.Command]:
    """All commands of this file."""
    for one in (add, revoke):
        one.help = with_examples(one.name, one.help)
    return [call, apikey]


@click.command()
@click.argument("verb")
@click.argument("request", default="{}")
@click.option("--key", default="", help="an idempotency key: a repetition with it is done once")
@which_worker
@click.pass_obj
def call(instance: Instance, verb: str, request: str, key: str, worker: str | None) -> None:
    """Call VERB as the operator with REQUEST, a JSON object; print the answer as JSON.

    The verbs and their fields are those of POST /api/v1/VERB; etc/doc/api.md lists them.
    """
    try:
        given = json.loads(request)
    except ValueError as error:
        raise UsageError(f"REQUEST is no JSON: {error}") from None
    if not isinstance(given, dict):
        raise UsageError('REQUEST is a JSON object, such as {"room": "hall", "text": "hello"}')
    rows = instance.query("verb", {"verb": verb, "request": given, "key": key}, worker=worker)
    for row in rows:
        click.echo(json.dumps(row, ensure_ascii=False))


@click.group()
def apikey() -> None:
    """Add, list and revoke the keys with which programs call verbs by HTTP."""


@apikey.command("add")
@click.argument("name")
@click.option("--verbs", default="", metavar="NAMES", help="verbs or groups of verbs, with commas; default: all")
@click.option("--rooms", default="", metavar="PATTERNS", help="patterns of rooms, with commas; default: all")
@click.option("--rate", type=click.FloatRange(min=0), help="calls a second, 0: no limit; default: 100")
@which_worker
@click.pass_obj
def add(instance: Instance, name: str, verbs: str, rooms: str, rate: float | None, worker: str | None) -> None:
    """Make a key of that NAME and print it. It cannot be shown again: the store has only a hash."""
    given: dict[str, Any] = {"do": "add", "name": name, "verbs": _several(verbs), "rooms": _several(rooms)}
    given |= {"rate": rate} if rate is not None else {}
    (row,) = instance.query("apikey", given, worker=worker)
    click.echo(row["key"])


@apikey.command("list")
@which_worker
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@click.pass_obj
def listed(instance: Instance, worker: str | None, as_json: bool) -> None:
    """List the keys: what each may do, and when it was last used."""
    rows = instance.query("apikey", {"do": "list"}, worker=worker)
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for row in rows:
        verbs, rooms = ",".join(row["verbs"]) or "all verbs", ",".join(row["rooms"]) or "all rooms"
        rate = f"{row['rate']:g}/s" if row["rate"] else "no limit"
        click.echo(f"{row['name']}  {row['id']}  {verbs}  {rooms}  {rate}  {_used(row['used'])}")
    if not rows:
        click.echo("no API keys", err=True)


@apikey.command("revoke")
@click.argument("name")
@which_worker
@click.pass_obj
def revoke(instance: Instance, name: str, worker: str | None) -> None:
    """End the key of that NAME or id, at once and everywhere."""
    (row,) = instance.query("apikey", {"do": "revoke", "name": name}, worker=worker)
    click.echo(f"revoked {counted(row['revoked'], 'key')}", err=True)


def _several(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _used(at: float) -> str:
    return f"last used {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))}" if at else "never used"
