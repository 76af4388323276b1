"""The commands of chatctl: their options, their text and their exit codes.

A command declares its options and calls the file that does the work. That file and its imports are loaded when the
command runs, so that `chatctl` starts quickly.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click

from chatmaster import __version__
from chatmaster.addresses import FORMS
from chatmaster.cli import cluster, completion, looking, moderation, stdio, verbs
from chatmaster.cli.help_examples import with_examples
from chatmaster.cli.instance import (
    MOST_SECONDS,
    Duration,
    Instance,
    as_json,
    instance_options,
    is_gone,
    overrides,
    wait_until,
    warn,
)
from chatmaster.cli.top import SORTS, Top
from chatmaster.contract import ExitCode
from chatmaster.errors import ChatmasterError, UsageError
from chatmaster.plural import counted

# Seconds for the store after the last worker (`STOP_GRACE` in store/supervisor.py), and for the master itself.
STOP_MARGIN = 6.0
INTERRUPTED = 128 + signal.SIGINT  # Ctrl-C, as a shell counts it
SUCCESSION = "_CHATMASTER_SUCCESSION"  # equals `exec_state.VARIABLE`, whose import takes time


class _Commands(click.Group):
    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        cmd.params.extend(instance_options(hidden=True))
        cmd.help = with_examples(cmd.name, cmd.help)
        super().add_command(cmd, name)


@click.group(
    cls=_Commands,
    params=list(instance_options(hidden=False)),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message=f"chatmaster %(version)s (Python {sys.version.split()[0]})")
@click.pass_context
def cli(context: click.Context) -> None:
    """Run and operate a chatmaster: a chat and WebSocket server with worker processes."""
    context.ensure_object(Instance)


def show(rows: Any, text: Callable[[], str], *, as_json: bool) -> None:
    """Print an answer on stdout: as JSON for programs, as text for people."""
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        click.echo(text())


# ---- running ---------------------------------------------------------------------------------------


@cli.command()
@click.argument("app", required=False)
@click.option("-d", "--daemon", is_flag=True, help="run in the background; chatctl returns when every worker answers")
@click.option("-n", "--workers", type=int, metavar="N", help="the number of workers, as server.workers")
@click.option(
    "-b",
    "--listen",
    multiple=True,
    metavar="ADDRESS",
    help=f"an address to listen on, as server.listen; may be given again: {FORMS}",
)
@click.option(
    "--dev",
    is_flag=True,
    help="development mode: reload when a file changes, one worker, breakpoint(), a short log",
)
@overrides
@click.pass_obj
def start(
    instance: Instance,
    app: str | None,
    daemon: bool,
    dev: bool,
    workers: int | None,
    listen: tuple[str, ...],
    overrides: tuple[str, ...],
) -> int:
    """Start the server. APP is module:attribute or a .py file; without it, the chat."""
    from chatmaster.cli import start as cli_start

    given = {"server.app": app, "server.workers": workers, "server.listen": list(listen) or None}
    flags: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if dev:
        if daemon:
            raise UsageError("--dev runs in the foreground, for its debugger and its log: leave -d out")
        from chatmaster.cli import dev as development

        flags = {**development.flags(overrides), **flags}
    loaded = instance.load(overrides, flags)
    if not daemon:
        return cli_start.run_in_foreground(loaded)
    warn(loaded)
    again = [app] if app is not None else []
    again += ["-n", str(workers)] if workers is not None else []
    again += [part for url in listen for part in ("-b", url)]
    again += [part for text in overrides for part in ("--set", text)]
    return cli_start.run_detached(instance, loaded, again)


@cli.command()
@click.option("--graceful", is_flag=True, help="wait until the clients have left")
@click.option(
    "--timeout",
    type=Duration(min=0, max=MOST_SECONDS),
    metavar="S",
    help="seconds until remaining processes are killed; with --graceful: until remaining clients are closed",
)
@click.pass_obj
def stop(instance: Instance, graceful: bool, timeout: float | None) -> None:
    """Stop the server: close the clients, then end the workers, the store and the master."""
    place = instance.locate()
    master = place.settings.master
    wait: float | None = None
    if timeout is not None:
        wait = timeout + (master.stop_timeout if graceful else 0.0) + STOP_MARGIN
    elif not graceful:
        wait = master.stop_timeout + STOP_MARGIN
    instance.call("stop", {"graceful": graceful, "timeout": timeout}, timeout=wait)
    wait_until(lambda: is_gone(place.pid_file), wait, "the master was told to stop, but still runs")
    click.echo(f"{master.name} has stopped", err=True)


@cli.command()
@click.pass_obj
def restart(instance: Instance) -> None:
    """Stop everything and start again in the same master process."""
    from chatmaster.cli import start as cli_start

    cli_start.restart(instance)


@cli.command()
@click.pass_obj
def reload(instance: Instance) -> None:
    """Load the configuration and the application again and replace the workers one by one; clients stay connected."""
    answer = instance.call("reload", timeout=None)
    for key in answer.get("needs_restart", ()):
        click.echo(f"{key} needs a restart: the old value stays", err=True)
    click.echo(f"reloaded: generation {answer.get('generation', '?')}", err=True)


@cli.command()
@click.option("--program", metavar="PATH", help="another chatctl, or a directory with the package chatmaster")
@click.pass_obj
def upgrade(instance: Instance, program: str | None) -> None:
    """Replace the running program in place; process, sockets and clients stay."""
    from chatmaster.cli import start as cli_start

    cli_start.upgrade(instance, program)


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("count", metavar="N|+N|-N")
@click.option(
    "--worker", metavar="NAME", help="the Worker to scale in a program that has several; default: the first one"
)
@click.pass_obj
def scale(instance: Instance, count: str, worker: str | None) -> None:
    """Change the number of workers: 4 sets it, +1 and -1 change it."""
    try:
        value = int(count)
    except ValueError:
        raise UsageError(f"{count!r} is not a number: scale takes N, +N or -N") from None
    from chatmaster.config import groups
    from chatmaster.runtime.cores import Cores

    args = {"by" if count[0] in "+-" else "to": value, "worker": worker}
    answer = instance.call("scale", args, timeout=None)
    workers = answer.get("workers", 0)
    click.echo(counted(workers, "worker"), err=True)
    if "cores" in answer and (warning := groups.crowded(workers, Cores(**answer["cores"]))):
        stdio.print_error(f"warning: {warning}")


# ---- looking ---------------------------------------------------------------------------------------


@cli.command()
@click.option("--watch", is_flag=True, help="refresh every second, until Ctrl-C")
@click.option("--sort", type=click.Choice(SORTS), default="slot", help="with --watch: the first sort column")
@click.option("--check", is_flag=True, help="exit with 1 while the server has a fault, for monitoring")
@click.option("--cluster", "all_hosts", is_flag=True, help="instead, show all hosts that share the store")
@as_json
@click.pass_obj
def status(instance: Instance, watch: bool, sort: str, check: bool, all_hosts: bool, as_json: bool) -> int:
    """Show the master, the store, the workers and their current faults."""
    from chatmaster.cli import status as cli_status

    if all_hosts:
        if watch:
            raise UsageError("--watch is for one host: leave --cluster out")
        found = cluster.status(instance)
        show(found, lambda: cluster.render(found), as_json=as_json)
        return ExitCode.FAILED if check and found["faults"] else ExitCode.DONE
    if watch:
        _watch(instance, sort, as_json=as_json)
    answer = instance.call("status")
    show(answer, lambda: cli_status.render(answer), as_json=as_json)
    return ExitCode.FAILED if check and answer.get("faults") else ExitCode.DONE


@cli.command()
@click.option("--sort", type=click.Choice(SORTS), default="slot", help="the first sort column")
@as_json
@click.pass_obj
def top(instance: Instance, sort: str, as_json: bool) -> None:
    """Watch the workers in a live table, like `status --watch`. Arrow keys choose the sort column, q quits."""
    _watch(instance, sort, as_json=as_json)


def _watch(instance: Instance, sort: str, *, as_json: bool) -> None:
    from chatmaster.cli import status as cli_status

    ask = partial(instance.call, "status")
    ask()  # a server that does not run is reported before the screen switches
    if as_json or not (sys.stdout.isatty() and sys.stdin.isatty()):
        cli_status.follow(ask, as_json=as_json)
    from chatmaster.cli import top_screen

    top_screen.show(ask, Top(sort=sort))


@cli.command()
@click.option("-f", "--follow", is_flag=True, help="go on with what is written, until Ctrl-C")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=100, show_default=True, help="the last N lines")
@click.pass_obj
def logs(instance: Instance, follow: bool, lines: int) -> None:
    """Print the end of the server's log file."""
    from chatmaster.cli import logs as log_file

    path = log_file.find(instance)
    last, position = log_file.last_lines(path, lines)
    click.echo(last, nl=False)
    if follow:
        for part in log_file.follow(path, position):
            click.echo(part, nl=False)
            sys.stdout.flush()


# ---- before and around running ---------------------------------------------------------------------


@cli.command()
@click.argument("app", required=False)
@click.option("--store", is_flag=True, help="also try the store: connect and run the trial writes of a start")
@overrides
@as_json
@click.pass_obj
def check(instance: Instance, app: str | None, store: bool, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check the configuration and the application without starting a server; with --store, check the store too."""
    from chatmaster.cli import check as cli_check

    loaded = warn(instance.load(overrides, {"server.app": app} if app else None))
    rows = cli_check.check(loaded)
    click.echo(f"configuration: good ({loaded.file or 'the defaults'})", err=True)
    tried = cli_check.try_store(loaded) if store else "not tried; --store tries it"
    click.echo(f"store: {tried}", err=True)
    show(rows, lambda: cli_check.render_program(loaded.settings.server.app, rows), as_json=as_json)


@cli.command()
@click.option(
    "--write",
    is_flag=False,
    flag_value="chatmaster.toml",
    metavar="[PATH]",
    help="instead, write a configuration file with every key, commented out; default: ./chatmaster.toml",
)
@click.option("--force", is_flag=True, help="with --write: replace a file that exists")
@overrides
@as_json
@click.pass_obj
def config(instance: Instance, write: str | None, force: bool, overrides: tuple[str, ...], as_json: bool) -> None:
    """Print the settings that a start from here would use, each with its origin.

    The settings come from the flags, the environment, the file and the program. Where the running server of that name
    uses another value, an extra line shows that value; `reload` or `restart` apply the new one.
    """
    from chatmaster.cli import check as cli_check

    if write is not None:
        from chatmaster.cli import shared_files

        click.echo(f"written: {shared_files.write_configuration(Path(write), force=force)}", err=True)
        return
    if force:
        raise UsageError("--force goes with --write")
    loaded = cli_check.with_program(warn(instance.load(overrides)))
    rows = cli_check.compared(loaded, cli_check.effective(loaded))
    show(rows, lambda: cli_check.render(rows), as_json=as_json)


@cli.command()
@click.argument("directory", metavar="[DIR]", required=False)
@click.option("--force", is_flag=True, help="with DIR: replace files that exist")
@as_json
def examples(directory: str | None, force: bool, as_json: bool) -> None:
    """List the files that come with chatmaster: programs, units, proxies, documents; with DIR, copy them there."""
    from chatmaster.cli import shared_files

    if directory is not None:
        copies = shared_files.copy_examples(Path(directory), force=force)
        click.echo(f"copied to {directory}: {counted(len(copies), 'file')}", err=True)
        return
    if force:
        raise UsageError("--force goes with a folder to copy to")
    rows = shared_files.examples()
    show([row._asdict() for row in rows], lambda: shared_files.render(rows), as_json=as_json)


@cli.command()
@click.option("--cluster", "all_hosts", is_flag=True, help="also compare all hosts that share the store")
@overrides
@as_json
@click.pass_obj
def doctor(instance: Instance, all_hosts: bool, overrides: tuple[str, ...], as_json: bool) -> int:
    """Look for problems of the running server, or of a start from here; exit with 1 if something is wrong."""
    from chatmaster.cli import doctor as doctors

    findings = doctors.examine(warn(instance.load(overrides)))
    if all_hosts:
        from chatmaster.cli import doctor_hosts

        findings += doctor_hosts.examine(instance)
    show([finding.row() for finding in findings], lambda: doctors.render(findings), as_json=as_json)
    return ExitCode.FAILED if any(finding.is_wrong for finding in findings) else ExitCode.DONE


@cli.command()
@click.option("--connections", type=click.IntRange(2, 10_000), default=50, show_default=True)
@click.option(
    "--seconds", type=Duration(min=0.2, max=3600), default=5.0, show_default=True, help="duration of the load"
)
@click.option(
    "--in-flight",
    type=click.IntRange(1, 1000),
    default=16,
    show_default=True,
    help="messages in flight during the second half",
)
@click.option("--token", default="", help="a token, for a server that requires tokens")
@click.option("--message", default="bench", show_default=True, help="the message for a program that is not the chat")
@as_json
@click.pass_obj
def bench(
    instance: Instance, connections: int, seconds: float, in_flight: int, token: str, message: str, as_json: bool
) -> int:
    """Put a small load on the running server and show the figures.

    The chat gets the load in a room of its own. A program of your own gets --message from one connection after the
    other; each connection then waits for the next message that the server sends.
    """
    from chatmaster.cli import bench as load

    result = load.run(
        instance, connections=connections, seconds=seconds, in_flight=in_flight, token=token, text=message
    )
    show(result, lambda: load.render(result), as_json=as_json)
    return ExitCode.FAILED if result["missing"] or result["lost_connections"] else ExitCode.DONE


@cli.command()
@click.option(
    "--connections",
    type=click.IntRange(10, 20_000),
    default=1000,
    show_default=True,
    help="clients that stay connected",
)
@click.option(
    "--seconds", type=Duration(min=1, max=MOST_SECONDS), help="how long the bots talk; default: 20, with --page an hour"
)
@click.option("--page", is_flag=True, help="open the chat page in a browser, to join the bots")
@as_json
def demo(connections: int, seconds: float | None, page: bool, as_json: bool) -> int:
    """Show that a reload drops nobody: a server of its own, five bots that talk, many connections, and reloads.

    Every connection checks each message by its offset. On a terminal the picture is live, q ends it. Exit code 1 means
    that a connection was dropped, or a message is missing or came twice.
    """
    from chatmaster.cli import demo as demonstration
    from chatmaster.cli import demo_picture

    scene = demonstration.run(
        connections=connections, seconds=seconds if seconds is not None else 3600.0 if page else 20.0, page=page
    )
    tally = scene.tally
    facts = {"connections": scene.wanted, "reloads": scene.reloads, "dropped": tally.dropped, "said": tally.said}
    facts |= {"deliveries": tally.deliveries, "missing": tally.missing, "doubled": tally.doubled}
    show(facts, lambda: demo_picture.summary(scene), as_json=as_json)
    return ExitCode.DONE if tally.is_clean else ExitCode.FAILED


@cli.command()
@as_json
def version(as_json: bool) -> None:
    """Print the version."""
    facts = {"chatmaster": __version__, "python": sys.version.split()[0]}
    show(facts, lambda: f"chatmaster {facts['chatmaster']} (Python {facts['python']})", as_json=as_json)


for command in [
    *looking.commands(),
    *moderation.commands(),
    *verbs.commands(),
    *cluster.commands(),
    *completion.commands(),
]:
    cli.add_command(command)


# ---- the process -----------------------------------------------------------------------------------


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        stdio.check_arguments(arguments)
        code = int(cli.main(list(arguments), prog_name="chatctl", standalone_mode=False) or 0)
        sys.stdout.flush()  # here a full disk can still be reported
        return code
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        _show(error)
        return ExitCode.USAGE
    except ChatmasterError as error:
        stdio.print_error(str(error))
        return error.exit_code
    except (BrokenPipeError, SystemExit):  # click turns the first into the second
        stdio.detach(sys.stdout)  # the reader of the output has closed the pipe
        return ExitCode.DONE
    except OSError as error:
        stdio.detach(sys.stdout)
        stdio.print_error(stdio.describe(error))
        return ExitCode.FAILED


def _show(error: click.ClickException) -> None:
    try:
        error.show()
    except OSError:
        stdio.detach(sys.stderr)  # standard error cannot be written; the exit code remains


def main() -> NoReturn:
    """The entry point of `chatctl`."""
    stdio.prepare()
    if sys.platform != "linux":
        sys.exit("chatctl: chatmaster runs on Linux only (it needs PDEATHSIG, memfd and SO_REUSEPORT balancing)")
    try:
        code = run(sys.argv[1:])
    finally:
        if SUCCESSION in os.environ:  # a master executed this program, which failed before it became the master
            from chatmaster.master import exec_state

            exec_state.roll_back(exec_state.take(os.environ), "the new program ended before it started")
    sys.exit(code)
