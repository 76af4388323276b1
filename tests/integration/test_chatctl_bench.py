"""`chatctl bench` against a running server."""

from __future__ import annotations

from collections.abc import Callable

from chatmaster.cli import bench
from chatmaster.contract import ExitCode
from tests.support.server import ROOT, Chatmaster

Make = Callable[..., Chatmaster]


def test_a_small_load_says_what_the_server_does_and_misses_nothing(chatmaster: Make) -> None:
    server = chatmaster(workers=2, settings={"limits.rate": 0})
    result = server.ask("bench", "--connections", "20", "--seconds", "2", "--in-flight", "4")
    assert (result["connections"], result["missing"], result["refused"], result["lost_connections"]) == (20, 0, 0, 0)
    assert [row["in_flight"] for row in result["phases"]] == [1, 4]
    for row in result["phases"]:
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["deliveries_per_s"] > 20
        assert not row["held_back_by_rate"]
    assert result["connects_per_s"] > 0
    beside = result["phases"][-1]
    assert beside["floor_cpu_us_per_delivery"] > 0
    assert f"{beside['of_the_floor']:.2f} times the floor's" in bench.render(result)
    shown = server.ctl("bench", "--connections", "5", "--seconds", "0.4")
    assert shown.returncode == 0, shown.stderr
    assert "µs of server CPU a delivery" in shown.stdout
    assert "missing 0 of" in shown.stdout


def test_it_stays_within_the_rate_that_a_connection_may_have(chatmaster: Make) -> None:
    server = chatmaster(workers=1)
    done = server.ctl("bench", "--connections", "3", "--seconds", "2")
    assert done.returncode == 0, done.stderr
    held = (
        "limits.rate held the load back, not the server: 20 messages/s for each connection are 60/s for 3 connections, "
    )
    assert held + "after a burst at the beginning" in done.stdout
    assert "missing 0 of" in done.stdout


def test_a_server_that_wants_tokens_gets_one_or_is_left_alone(chatmaster: Make) -> None:
    settings = {"auth.mode": "token", "auth.secret": "0123456789abcdef0123456789abcdef"}
    server = chatmaster(workers=1, settings=settings)
    refused = server.ctl("bench")
    assert refused.returncode == ExitCode.USAGE
    assert "--token" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_without_a_server_it_says_so(tmp_path) -> None:
    done = Chatmaster(workers=1)
    try:
        assert done.ctl("bench").returncode == ExitCode.NOT_RUNNING
    finally:
        done.close()


def test_a_program_of_ones_own_is_measured_by_what_it_answers(chatmaster: Make) -> None:
    server = chatmaster(str(ROOT / "etc" / "examples" / "echo.py"), workers=1)
    result = server.ask("bench", "--connections", "8", "--seconds", "1", "--in-flight", "4", "--message", "hi")
    assert (result["program"], result["connections"], result["lost_connections"]) == (True, 8, 0)
    for row in result["phases"]:
        assert row["unanswered"] == 0 and 0 < row["p50_ms"] <= row["p99_ms"]
        # The last answers of a phase come in the next one.
        assert abs(row["messages_per_s"] - row["heard_per_s"]) < 20, "an echo is one answer for each message"
    shown = server.ctl("bench", "--connections", "3", "--seconds", "0.4")
    assert shown.returncode == 0, shown.stderr
    assert "µs of server CPU a message" in shown.stdout


def test_a_relay_is_heard_by_everybody_and_a_silent_program_is_said_to_be(chatmaster: Make) -> None:
    server = chatmaster(str(ROOT / "etc" / "examples" / "relay.py"), workers=2)
    (first, _) = server.ask("bench", "--connections", "6", "--seconds", "1")["phases"]
    assert first["heard_per_s"] > 4 * first["messages_per_s"]
    silent = chatmaster(str(ROOT / "tests" / "integration" / "programs" / "operated.py"), workers=1)
    done = silent.ctl("bench", "--connections", "3", "--seconds", "2.4")
    assert done.returncode == 0 and "without an answer within 1 s: give a --message" in done.stdout
