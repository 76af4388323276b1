"""Where frames end: for every header, in every segmentation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.transport.serving import frame
from workers.transport.parser import PARTIAL, PLAIN_TEXT, REFUSED, Parsers, apply_mask, find_frame, whole_text

LIMIT = 70_000


@given(st.sampled_from([0, 1, 125, 126, 127, 65535, 65536, LIMIT]), st.binary(max_size=9))
def test_a_frame_is_found_wherever_it_begins(size: int, before: bytes) -> None:
    whole = frame(2, bytes(size))
    start, end = find_frame(before + whole + b"next", len(before), LIMIT)
    assert (start, end) == (len(before) + len(whole) - size, len(before) + len(whole))


@pytest.mark.parametrize("size", [0, 125, 126, 65536])
def test_no_part_of_a_header_is_taken_for_a_frame(size: int) -> None:
    whole = frame(1, bytes(size))
    header = len(whole) - size
    for cut in range(len(whole)) if size < 1000 else range(header + 1):
        _, end = find_frame(whole[:cut], 0, LIMIT)
        assert end > cut, f"after {cut} bytes"


def test_the_end_of_an_announced_frame_is_known_before_it_is_there() -> None:
    assert find_frame(frame(1, bytes(300))[:8], 0, LIMIT) == (8, 308)
    assert find_frame(b"\x81", 0, LIMIT) == PARTIAL


@pytest.mark.parametrize("length", [LIMIT + 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_frame_over_the_limit_is_refused_by_its_header(length: int) -> None:
    assert find_frame(b"\x82\xff" + length.to_bytes(8, "big"), 0, LIMIT) == REFUSED


def test_an_unmasked_frame_is_refused_by_its_header() -> None:
    assert find_frame(b"\x81\x05", 0, LIMIT) == REFUSED


def general(data: bytes) -> bytes | None:
    """What `whole_text` has to find, by the way that every frame can take."""
    if not data or data[0] != PLAIN_TEXT:
        return None
    start, end = find_frame(data, 0, LIMIT)
    return apply_mask(data[start:end], data[start - 4 : start]) if end == len(data) else None


@given(
    st.sampled_from([0, 1, 2, 3, 124, 125, 126, 127, 65535, 65536, LIMIT]),
    st.sampled_from([0x81, 0x82, 0x01, 0x80, 0x89, 0xC1]),
    st.integers(-3, 3),
    st.booleans(),
)
def test_a_whole_text_is_what_the_general_way_finds(size: int, first: int, more: int, masked: bool) -> None:
    data = bytes([first]) + frame(1, b"x" * size)[1:]
    data = data[:more] if more < 0 else data + b"\x81" * more
    if not masked and len(data) > 1:
        data = bytes([data[0], data[1] & 0x7F]) + data[2:]
    found = whole_text(data, LIMIT)
    if size in range(2, 65536):  # shorter and longer ones may be left to the general way
        assert found == general(data)
    else:
        assert found in (None, general(data))


@given(st.binary(max_size=12).map(lambda rest: bytes([PLAIN_TEXT]) + rest))
def test_no_header_makes_a_whole_text_of_something_else(data: bytes) -> None:
    assert whole_text(data, LIMIT) in (None, general(data))


def test_a_parser_that_was_kept_is_replaced() -> None:
    parsers = Parsers(LIMIT)
    for deflate in (False, True):
        kept = parsers.borrow(deflate=deflate)
        parsers.detach(kept)
        assert parsers.borrow(deflate=deflate) is not kept
        assert parsers.borrow(deflate=deflate) is parsers.borrow(deflate=deflate)
