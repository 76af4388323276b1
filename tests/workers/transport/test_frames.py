"""Outgoing frames equal those of `websockets`, and compressed ones are read by an independent peer."""

import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol

from workers.transport import frames

SIZES = [0, 1, 124, 125, 126, 127, 65534, 65535, 65536, 70000]


@pytest.mark.parametrize("size", SIZES)
def test_frames_equal_those_of_the_library_at_every_edge(size: int) -> None:
    payload = os.urandom(size)
    assert frames.text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
    assert frames.binary_frame(payload) == Frame(Opcode.BINARY, payload).serialize(mask=False)


@given(st.binary(max_size=300))
def test_frames_equal_those_of_the_library(payload: bytes) -> None:
    assert frames.text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
    assert frames.ping_frame(payload[:125]) == Frame(Opcode.PING, payload[:125]).serialize(mask=False)


def test_a_close_frame_carries_code_and_reason() -> None:
    assert frames.close_frame(4003, "kicked") == b"\x88\x08\x0f\xa3kicked"


def test_a_long_reason_is_cut_between_characters() -> None:
    frame = frames.close_frame(1011, "é" * 100)
    assert len(frame) <= 2 + 125
    assert frame[4:].decode() == "é" * 61


@pytest.mark.parametrize("code", [999, 1004, 1005, 1006, 1015, 2999, 5000])
def test_a_code_that_must_not_be_sent_is_refused(code: int) -> None:
    with pytest.raises(ProtocolError):
        frames.close_frame(code)


def read_compressed(frame: bytes) -> str:
    extension = PerMessageDeflate(client_no_context_takeover=True, server_no_context_takeover=True)
    extension._enabled = True
    parser = FrameProtocol(client=True, extensions=[extension])
    parser.receive_bytes(frame)
    return "".join(str(part.payload) for part in parser.received_frames())


@given(st.text(max_size=3000))
def test_a_compressed_frame_is_read_by_another_implementation(message: str) -> None:
    assert read_compressed(frames.compressed_text_frame(message.encode(), threshold=0)) == message


@pytest.mark.parametrize("size", [1, 255, 256, 511, 512, 513, 4096, 40000, 300000])
def test_every_window_that_is_chosen_is_read_with_15_bits(size: int) -> None:
    payload = (b"the quick brown fox jumps over the lazy dog. " * (size // 45 + 1))[:size]
    assert zlib.decompressobj(wbits=-15).decompress(frames.deflate(payload) + b"\0\0\xff\xff") == payload


def test_short_messages_are_not_compressed() -> None:
    payload = b"a" * (frames.COMPRESS_FROM - 1)
    assert frames.compressed_text_frame(payload) == frames.text_frame(payload)


def test_what_does_not_shrink_is_not_compressed() -> None:
    payload = os.urandom(2000)
    assert frames.compressed_binary_frame(payload) == frames.binary_frame(payload)


def test_a_compressed_frame_is_marked_and_smaller() -> None:
    payload = b"hello " * 200
    frame = frames.compressed_text_frame(payload)
    assert frame[0] == 0xC1
    assert len(frame) < 100
