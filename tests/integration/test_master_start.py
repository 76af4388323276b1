"""Starting: what is there when it has started, and how each reason not to start is told, with its exit code."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatmaster.contract import ExitCode
from tests.support import processes
from tests.support.server import Chatmaster, DidNotStart, wait_for_exit
from tests.support.wait import until

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
OBEDIENT = "tests/integration/programs/obedient.py"


def program(tmp_path: Path, body: str) -> str:
    """A program with one Worker and what the test adds."""
    path = tmp_path / "app.py"
    path.write_text(f"import os, time, asyncio\nfrom workers import Worker\nworker = Worker(name='w')\n{body}\n")
    return str(path)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(scope="module")
def shared() -> Iterator[Chatmaster]:
    """One that nobody changes."""
    with Chatmaster(OBEDIENT, workers=2) as server:
        yield server


def test_processes_have_names_and_files_are_private(shared):
    server = shared
    assert processes.title(server.pid) == "chatmaster: master [chat]"
    assert [processes.title(pid) for pid in server.pids] == [f"chatmaster: worker {slot} [chat]" for slot in (0, 1)]
    assert processes.title(server.store_pid).startswith("chatmaster: store [chat]")
    assert mode(server.state_dir) == 0o700
    assert mode(server.state_dir / "chat.sock") == 0o600
    assert mode(server.state_dir / "chat.pid") == 0o600
    assert (server.state_dir / "chat.pid").read_text() == f"{server.pid}\n"


def test_status_has_every_promised_field(shared):
    status = shared.status()
    assert status.keys() == {"master", "store", "workers", "totals", "faults"}
    assert status["faults"] == []
    assert status["master"].keys() >= {"pid", "name", "version", "generation", "started", "uptime"}
    assert status["store"].keys() >= {"url", "state", "pid", "probe_ms"}
    assert status["store"]["state"] == "ready" and status["store"]["durability"] == "disk"
    promised = "slot pid state generation uptime connections rooms messages_in messages_out deliveries in_rate "
    promised += "out_rate dropped loop_lag_ms memory restarts last_exit"
    for row in status["workers"]:
        assert row.keys() >= set(promised.split())
        assert row["state"] == "ready" and row["generation"] == 1 and row["restarts"] == 0
        assert row["uptime"] < 60


def test_status_shows_memory(shared):
    assert until(lambda: shared.status()["workers"][0]["memory"]) > 1_000_000


def test_workers_only_hold_what_is_theirs(shared):
    """No control socket, no lock, no sibling's listener: a worker that lives on must not keep the next start away."""
    listening = _listening_sockets(shared.port)
    assert len(listening) == 2
    for pid in shared.pids:
        open_here = processes.descriptors(pid).values()
        assert sum(f"socket:[{inode}]" in open_here for inode in listening) == 1
        assert not any("chat.pid" in target for target in open_here)


def test_a_port_in_use_is_named(chatmaster):
    server = chatmaster(OBEDIENT, start=False)
    with socket.socket() as other:
        # As another SO_REUSEPORT server of the same user would be: a plain bind still notices.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", server.port))
        other.listen()
        with pytest.raises(DidNotStart, match=f"port {server.port} is in use") as raised:
            server.start()
    assert raised.value.exit_code == ExitCode.FAILED
    assert str(server.port) in server.log()


def test_a_second_master_is_refused(shared):
    server = shared
    done = server.ctl("start", OBEDIENT, "-b", f"ws://127.0.0.1:{processes.free_port()}")
    assert done.returncode == ExitCode.ALREADY_RUNNING and str(server.pid) in done.stderr
    assert server.states() == ["ready", "ready"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise RuntimeError('the import failed')", "the import failed"),
        ("import nothing_of_that_name", "nothing_of_that_name"),
        ("os._exit(7)", "exit code 7"),
    ],
)
def test_an_application_that_cannot_be_imported_is_5_with_its_traceback(chatmaster, tmp_path, body, said):
    server = chatmaster(program(tmp_path, body), start=False)
    with pytest.raises(DidNotStart) as raised:
        server.start()
    assert raised.value.exit_code == ExitCode.NOT_READY
    assert said in raised.value.reason
    if "exit" not in body:
        assert 'app.py", line 4' in raised.value.reason


def test_a_worker_that_fails_at_its_start_is_5_with_its_traceback(chatmaster, tmp_path):
    body = "@worker.on_worker_start\ndef start(worker):\n    raise RuntimeError('not today')"
    server = chatmaster(program(tmp_path, body), start=False)
    with pytest.raises(DidNotStart) as raised:
        server.start()
    assert raised.value.exit_code == ExitCode.NOT_READY
    assert "not today" in raised.value.reason and "Traceback" in raised.value.reason


def test_a_crash_loop_at_the_start_is_5(chatmaster, tmp_path):
    body = "@worker.on_worker_start\ndef start(worker):\n    os.kill(os.getpid(), 11)"
    server = chatmaster(program(tmp_path, body), start=False)
    with pytest.raises(DidNotStart) as raised:
        server.start()
    assert raised.value.exit_code == ExitCode.NOT_READY
    assert "3 times in a row" in raised.value.reason and "SIGSEGV" in raised.value.reason


def test_a_worker_that_does_not_get_ready_is_5_with_its_stack_in_the_log(chatmaster, tmp_path):
    body = "@worker.on_worker_start\ndef sleeps_too_long(worker):\n    time.sleep(3600)"
    server = chatmaster(program(tmp_path, body), start=False, settings={"master.ready_timeout": 5.0})
    with pytest.raises(DidNotStart, match=r"not ready within 5") as raised:
        server.start()
    assert raised.value.exit_code == ExitCode.NOT_READY
    assert "in sleeps_too_long" in server.log()


def test_a_store_that_cannot_be_reached_is_6(chatmaster):
    url = f"redis://:secret@127.0.0.1:{processes.free_port()}/0"
    server = chatmaster(OBEDIENT, start=False, settings={"store.url": url})
    with pytest.raises(DidNotStart, match="store cannot be reached") as raised:
        server.start()
    assert raised.value.exit_code == ExitCode.STORE_UNREACHABLE
    assert "secret" not in raised.value.reason + server.log()


def test_a_store_that_is_there_is_used(chatmaster, redis_server):
    store = redis_server()
    server = chatmaster(OBEDIENT, settings={"store.url": f"unix://default:hunter2@{store.socket_path}"})
    status = server.status()["store"]
    assert status["url"] == f"unix://default:***@{store.socket_path}"
    assert status["state"] == "ready" and "pid" not in status and status["durability"] == "memory"
    assert not (server.state_dir / "chat.store").exists()


def test_a_failed_start_leaves_nothing_behind(chatmaster, tmp_path):
    server = chatmaster(program(tmp_path, "raise RuntimeError"), start=False)
    with pytest.raises(DidNotStart):
        server.start()
    left = {path.name for path in server.state_dir.iterdir()}
    assert not left & {"chat.sock", "chat.pid"}


def test_a_start_that_is_told_to_stop_says_so(chatmaster, tmp_path):
    body = "@worker.on_worker_start\ndef start(worker):\n    os.kill(os.getppid(), 15)\n    time.sleep(3600)"
    server = chatmaster(program(tmp_path, body), start=False)
    with pytest.raises(DidNotStart, match="told to stop"):
        server.start()
    assert server.process.returncode == 0


def test_a_signal_ends_a_start_that_goes_on(chatmaster, tmp_path):
    server = chatmaster(program(tmp_path, "time.sleep(3600)"), start=False)
    process = server.spawn()
    until(lambda: any("probe" in processes.title(pid) for pid in processes.children(process.pid)))
    probe = next(pid for pid in processes.children(process.pid))
    process.send_signal(signal.SIGTERM)
    assert wait_for_exit(process) == 0
    assert not processes.alive(probe)


def test_several_workers_of_a_program_have_their_own_addresses_and_counts(chatmaster, tmp_path):
    port, path = processes.free_port(), tmp_path / "two.sock"
    source = tmp_path / "two.py"
    source.write_text(
        "from workers import Worker\n"
        f"one = Worker('websocket://127.0.0.1:{port}', name='one', count=2)\n"
        f"two = Worker('unix:{path}', name='two', count=1)\n"
        "three = Worker(name='three', count=1)\n"
    )
    server = chatmaster(str(source), start=False, config='[server]\ntrusted_proxies = ["unix"]\n')
    server._start_arguments = lambda: [str(source)]  # neither -n nor -b
    server.start()
    rows = server.status()["workers"]
    assert [(row["slot"], row["worker"]) for row in rows] == [(0, "one"), (1, "one"), (2, "two"), (3, "three")]
    assert len(_listening_sockets(port)) == 2
    assert server.ctl("scale", "1").returncode == 0  # the first, as -n and -b
    assert server.ctl("scale", "+1", "--worker", "two").returncode == 0
    assert sorted(row["worker"] for row in server.status()["workers"]) == ["one", "three", "two", "two"]
    source.write_text(source.read_text().replace("two.sock", "moved.sock"))
    assert "the address of the Worker two needs a restart" in server.ctl("reload").stderr
    unknown = server.ctl("scale", "2", "--worker", "four")
    assert unknown.returncode == ExitCode.USAGE and "has one, two, three" in unknown.stderr
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(HANDSHAKE + b"X-Forwarded-For: 192.0.2.7\r\n\r\n")
        assert sock.recv(12) == b"HTTP/1.1 101"
        assert [row["address"] for row in server.ask("connections")] == ["192.0.2.7"]
    server.stop()
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not(chatmaster, tmp_path):
    path = tmp_path / "app.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    arguments = ("-b", f"unix:{path}")
    server = chatmaster(OBEDIENT, arguments=arguments)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
    other = chatmaster(OBEDIENT, arguments=arguments, start=False)
    with pytest.raises(DidNotStart, match=r"app\.sock is in use") as raised:
        other.start()
    assert raised.value.exit_code == ExitCode.FAILED
    assert server.states() == ["ready", "ready"]


def test_sockets_of_systemd_are_shared_by_all_slots_also_after_a_restart(chatmaster):
    server = chatmaster(OBEDIENT, workers=2, start=False)
    with socket.socket() as sock:
        sock.bind(("0.0.0.0", server.port))  # not what -b says: it takes the place of that
        sock.listen()
        script = "import os,sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True); "
        script += "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); os.execv(sys.argv[2], sys.argv[2:])"
        server.prefix = (os.environ.get("PYTHON", "python3"), "-c", script, str(sock.fileno()))
        reader, writer = os.pipe()
        server.spawn({"_CHATMASTER_READY_FD": str(writer)}, pass_fds=[writer, sock.fileno()])
        os.close(writer)
        with os.fdopen(reader) as pipe:
            report = json.loads(pipe.readline())
    assert report["addresses"] == [f"ws://0.0.0.0:{server.port}"]
    before = _listening_sockets(server.port, "00000000")
    assert len(before) == 1 and _healthy(server.port)
    assert server.ctl("restart").returncode == 0
    assert _listening_sockets(server.port, "00000000") == before and _healthy(server.port)
    assert server.status()["master"]["listen"] == report["addresses"]


def _healthy(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        return client.recv(100).startswith(b"HTTP/1.1 200")


def _listening_sockets(port: int, host: str = "0100007F") -> set[str]:
    """The inodes of the sockets that listen on that port, of 127.0.0.1 or another host in the kernel's hexadecimal."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[1] == f"{host}:{port:04X}" and row[3] == "0A"}
