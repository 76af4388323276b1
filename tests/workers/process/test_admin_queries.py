"""Rows that fit packets, and lines that do not grow without end."""

from __future__ import annotations

from typing import Any

import pytest

from chatmaster import contract
from workers.process.admin_queries import Lines, answers


def received(packets: list[contract.Answer]) -> list[dict[str, Any]]:
    """What the master makes of them."""
    rows: list[dict[str, Any]] = []
    whole = b""
    for packet in packets:
        rows += packet.rows
        whole += packet.piece
        if packet.piece and not packet.more:
            rows.append(contract.decode_row(whole))
            whole = b""
    return rows


@pytest.mark.parametrize("sizes", [[], [1] * 5000, [65_000] * 3, [10, 65_300, 300_000, 20, 65_536, 1]])
def test_every_packet_fits_and_every_row_comes(sizes):
    rows = [{"n": number, "text": "x" * size} for number, size in enumerate(sizes)]
    packets = list(answers(7, rows))
    assert all(len(contract.encode(packet)) <= contract.MAX_PACKET and not packet.last for packet in packets)
    assert received(packets) == rows
    assert len(packets) <= sum(sizes) // 20_000 + 3


async def test_what_is_too_much_is_counted_where_it_is_missing():
    lines = Lines(2)
    for number in range(5):
        lines.put({"n": number})
    assert [await lines.next(), await lines.next()] == [{"n": 0}, {"n": 1}]
    lines.put({"n": 5})
    lines.lose()
    assert [await lines.next() for _ in range(3)] == [{"lost": 3}, {"n": 5}, {"lost": 1}]
