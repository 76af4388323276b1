"""Counts are said as people say them."""

from chatmaster.cli.status import render
from chatmaster.plural import counted


def test_one_is_no_several():
    assert [counted(count, "worker") for count in (0, 1, 2, 1024)] == [
        "0 workers",
        "1 worker",
        "2 workers",
        "1,024 workers",
    ]
    assert counted(2, "log line was", several="log lines were") == "2 log lines were"


def test_what_happened_once_is_said_so():
    totals = {"callback_errors": 1, "throttled": 2, "handshakes_refused": 1, "refused": {"origin": 1}}
    shown = render({"totals": totals, "store": {"restarts": 1}})
    for words in (
        "1 callback error,",
        "2 requests throttled",
        "1 handshake refused (origin 1)",
        "1 restart of the store",
    ):
        assert words in shown, shown
