"""The commands of chatctl that see and steer all hosts that share a store: `drain`, and `--cluster` of others.

Any host answers: a worker of it reads in the store what the hosts say of themselves, and leaves orders there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from chatmaster.cli import tables
from chatmaster.cli.instance import MOST_SECONDS, Duration, Instance, as_json, wait_until
from chatmaster.cli.tables import Column, duration, milliseconds, number, size, text
from chatmaster.errors import RefusedByMaster, UsageError
from chatmaster.plural import counted

Row = dict[str, Any]

PAGE: Final = 1000  # connections that one question to all workers asks for
GRACE: Final = 30.0  # seconds that --wait waits longer than the clients have to leave
_POLL: Final = 0.5  # seconds


def commands() -> list[click.Command]:
    """All commands of this file."""
    return [drain]


@click.command()
@click.argument("host")
@click.option(
    "--seconds",
    type=Duration(min=0, max=86_400),
    default=30.0,
    show_default=True,
    help="the clients leave spread over this time",
)
@click.option(
    "--notice",
    type=Duration(min=0, max=MOST_SECONDS),
    default=5.0,
    show_default=True,
    help="seconds for the load balancer to see that the host is not ready, before the first client leaves",
)
@click.option("--stop", is_flag=True, help="then stop the server of that host")
@click.option("--undo", is_flag=True, help="take it back: the host is ready again")
@click.option("--wait", is_flag=True, help="return when the clients have left, with --stop when the server has ended")
@as_json
@click.pass_obj
def drain(
    instance: Instance,
    host: str,
    seconds: float,
    notice: float,
    stop: bool,
    undo: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Take HOST out of service, from any host: it is not ready from now on, then its clients go to the others.

    HOST is a name as `status --cluster` shows it. The host stays out, over restarts too, until `--undo`; with --stop it
    serves again at its next start.
    """
    if undo and (stop or wait):
        raise UsageError("--undo goes with neither --stop nor --wait")
    given = {"host": host, "undo": True} if undo else {"host": host, "seconds": seconds, "notice": notice, "stop": stop}
    (row,) = instance.query("drain", given)
    if undo:
        click.echo(f"{host} is no longer drained", err=True)
    else:
        then = ", and its server stops" if stop else f"; `drain {host} --undo` takes it back"
        when = f"its clients leave after {notice:g} s within {seconds:g} s"
        click.echo(f"{host} is drained: not ready from now on, {when}{then}", err=True)
    if wait:
        patience = notice + seconds + GRACE
        wait_until(lambda: _has_left(instance, host, stop=stop), patience, f"{host} still has clients", poll=_POLL)
    if as_json:
        click.echo(json.dumps(row, ensure_ascii=False))


def _has_left(instance: Instance, host: str, *, stop: bool) -> bool:
    try:
        rows = instance.query("hosts", {})
    except RefusedByMaster:
        return False  # no worker can answer just now
    found = next((row for row in rows if row["host"] == host), None)
    if found is None or found["state"] in ("lost", "away"):
        return True
    return not stop and not found["connections"] and time.time() > found["drain"]["since"] + found["drain"]["notice"]


# ---- all hosts ---------------------------------------------------------------------------------------


def status(instance: Instance) -> Row:
    """All hosts, and what is wrong between them."""
    hosts = instance.query("hosts", {})
    return {"hosts": hosts, "totals": _totals(hosts), "faults": list(faults(hosts))}


def _totals(hosts: list[Row]) -> Row:
    there = [row for row in hosts if row["state"] not in ("lost", "away")]
    summed = ("workers", "connections", "capacity", "memory")
    return {"hosts": len(there), **{key: sum(row[key] for row in there) for key in summed}}


def faults(hosts: list[Row]) -> Iterator[Row]:
    """What an operator must know of the hosts now. A host that somebody drains is no fault."""
    for row in hosts:
        if row["state"] == "lost":
            yield {"what": f"{row['host']} is lost", "why": "it has renewed nothing since", "seconds": row["lost_for"]}
        elif not row["workers"]:
            yield {"what": f"{row['host']} has no worker that serves", "why": "", "seconds": None}
        if row["contested"]:
            why = "give each a master.host of its own"
            yield {"what": f"two masters call themselves {row['host']}", "why": why, "seconds": None}


_COLUMNS: Final = (
    Column("host", "host"),
    Column("state", "state", tables.state),
    Column("version", "version"),
    Column("addresses", "addresses"),
    Column("up", "uptime", duration, right=True),
    Column("gen", "generation", right=True),
    Column("workers", "workers", number, right=True),
    Column("conns", "connections", number, right=True),
    Column("capacity", "capacity", number, right=True),
    Column("lag ms", "lag_ms", milliseconds, right=True),
    Column("store ms", "store_ms", milliseconds, right=True),
    Column("clock ms", "clock_ms", number, right=True),
    Column("memory", "memory", size, right=True),
    Column("", "note"),
)


def render(found: Mapping[str, Any]) -> str:
    """The hosts as a table, with the faults below."""
    rows = [_with_words(row) for row in found["hosts"]]
    if len(rows) > 1:
        rows.append({"host": "all", **found["totals"]})
    lines = [tables.table(_COLUMNS, rows)]
    for fault in found["faults"]:
        lasting = f" for {duration(fault['seconds'])}" if fault["seconds"] is not None else ""
        why = f": {text(fault['why'])}" if fault["why"] else ""
        lines.append(click.style(f"✗ {text(fault['what'])}{lasting}{why}", fg="red"))
    return "\n".join(lines)


def _with_words(row: Row) -> Row:
    there = row["state"] not in ("lost", "away")
    drained = f"drained by {row['drain']['by']}" if row["drain"] else ""
    gone = f"for {duration(row['lost_for'])}" if not there else ""
    if not there:
        row = {key: row[key] for key in ("host", "state", "version", "addresses")}
        return {**row, "note": ", ".join(filter(None, (gone, drained)))}
    note = ", ".join(filter(None, ("this host" if row["here"] else "", drained)))
    return {
        **row,
        "uptime": time.time() - row["started"] if row["started"] else None,
        "lag_ms": row["loop_lag"] * 1000,
        "store_ms": row["store_seconds"] * 1000,
        "clock_ms": round(row["clock"] * 1000),
        **({"note": note} if note else {}),
    }


def connections(instance: Instance, asked: Mapping[str, str], worker: str | None) -> list[Row]:
    """The connections of all hosts, page by page."""
    rows: list[Row] = []
    cursor = ""
    while True:
        request = {**asked, "limit": PAGE, "cursor": cursor}
        (page,) = instance.query("verb", {"verb": "connections", "request": request}, worker=worker)
        rows += page["connections"]
        cursor = page.get("cursor", "")
        if not cursor:
            click.echo(counted(len(rows), "connection"), err=True)
            return rows
