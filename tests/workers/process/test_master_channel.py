"""The worker's end of the channel: only a master that is gone ends the worker, nothing that it says itself."""

from __future__ import annotations

import socket

import pytest

from chatmaster import contract
from workers.process.master_channel import MasterChannel, send_blocking


@pytest.fixture
def pair():
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield ends
    for end in ends:
        end.close()


async def test_a_packet_that_cannot_be_sent_costs_itself_and_a_closed_end_the_worker(pair, caplog):
    lost: list[bool] = []
    channel = MasterChannel(pair[0], receive=lambda message, fds: None, lost=lambda: lost.append(True))
    channel.send(contract.Answer(1, [{"text": "x" * 500_000}]))
    channel.send(contract.Answer(2))
    assert contract.decode_from_worker(pair[1].recv(contract.MAX_PACKET)) == contract.Answer(2)
    assert not lost and "500" in caplog.text
    pair[1].close()
    channel.send(contract.Answer(3))
    assert lost


async def test_a_failure_with_a_very_long_traceback_is_told_with_its_end(pair):
    failure = contract.Failed(5, "because " + "\U0001f600" * 50_000, "x" * 300_000 + "the end")
    channel = MasterChannel(pair[0], receive=lambda message, fds: None, lost=lambda: None)
    channel.send(failure)
    send_blocking(pair[0], failure)
    for _ in range(2):
        told = contract.decode_from_worker(pair[1].recv(contract.MAX_PACKET))
        assert isinstance(told, contract.Failed)
        assert told.reason.startswith("because ") and told.traceback.endswith("xthe end")
