"""The conformance cases: what a peer sends, which echoes it gets, and the close code; see test_conformance.py."""

from collections.abc import Sequence

from tests.workers.transport.serving import frame, text

TEXT, BINARY, CLOSE, PING, PONG, CONT = 1, 2, 8, 9, 10, 0
LIMIT = 65_536


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def bits(first: int, second: int, rest: bytes = b"") -> bytes:
    return bytes((first, second)) + rest


MASK = b"\0\0\0\0"
GOOD_CODES = (1001, 1002, 1003, 1007, 1011, 1012, 3000, 3999, 4000, 4999)
BAD_CODES = (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)

# name: (what is sent, messages echoed, close code)
CASES: dict[str, tuple[bytes, Sequence[str | bytes], int]] = {
    # 1 framing
    "empty text": (text("") + close(1000), [""], 1000),
    "text of 125, 126, 127": (
        text("x" * 125) + text("x" * 126) + text("x" * 127) + close(1000),
        ["x" * 125, "x" * 126, "x" * 127],
        1000,
    ),
    "text of 65,536": (text("*" * LIMIT) + close(1000), ["*" * LIMIT], 1000),
    "empty binary": (frame(BINARY) + close(1000), [b""], 1000),
    "binary of 65,536": (frame(BINARY, bytes(LIMIT)) + close(1000), [bytes(LIMIT)], 1000),
    # 2 pings and pongs
    "a ping between messages": (text("a") + frame(PING, b"hi") + text("b") + close(1000), ["a", "b"], 1000),
    "a ping of 126": (bits(0x89, 0xFE, b"\0\x7e" + MASK + b"x" * 126), [], 1002),
    "an unsolicited pong": (frame(PONG, b"x") + text("a") + close(1000), ["a"], 1000),
    # 3 reserved bits, 4 opcodes
    "rsv2": (bits(0xA1, 0x80, MASK), [], 1002),
    "rsv3": (bits(0x91, 0x80, MASK), [], 1002),
    "all reserved bits on a ping": (bits(0xF9, 0x80, MASK), [], 1002),
    "opcode 3": (bits(0x83, 0x80, MASK), [], 1002),
    "opcode 11 with data after text": (text("a") + bits(0x8B, 0x81, MASK + b"x"), ["a"], 1002),
    # 5 fragments
    "text in three frames": (
        frame(TEXT, b"a", fin=False) + frame(CONT, b"b", fin=False) + frame(CONT, b"c") + close(1000),
        ["abc"],
        1000,
    ),
    "binary in two frames": (frame(BINARY, b"a", fin=False) + frame(CONT, b"b") + close(1000), [b"ab"], 1000),
    "a ping inside a message": (
        frame(TEXT, b"a", fin=False) + frame(PING, b"p") + frame(CONT, b"b") + close(1000),
        ["ab"],
        1000,
    ),
    "many empty fragments": (
        frame(TEXT, b"", fin=False) + frame(CONT, b"", fin=False) * 1500 + frame(CONT, b"x") + close(1000),
        ["x"],
        1000,
    ),
    "message after message of fragments": (
        (frame(TEXT, b"a", fin=False) + frame(CONT, b"b")) * 3 + text("c") + close(1000),
        ["ab"] * 3 + ["c"],
        1000,
    ),
    "a continuation of nothing": (frame(CONT, b"x"), [], 1002),
    "a continuation after the end": (
        frame(TEXT, b"a", fin=False) + frame(CONT, b"b") + frame(CONT, b"c"),
        ["ab"],
        1002,
    ),
    "a message inside a message": (frame(TEXT, b"a", fin=False) + text("b"), [], 1002),
    "a fragmented ping": (bits(0x09, 0x80, MASK), [], 1002),
    "a fragmented close": (bits(0x08, 0x80, MASK), [], 1002),
    # A Close may come between fragments like any control frame (RFC 6455, 5.4 and 5.5.1; Autobahn 7.1.5).
    "close inside a message": (frame(TEXT, b"a", fin=False) + close(1000), [], 1000),
    "close inside a message that goes on": (
        frame(TEXT, b"a", fin=False) + close(1000) + frame(CONT, b"b"),
        [],
        1000,
    ),
    "rsv1 on a continuation": (frame(TEXT, b"a", fin=False) + bits(0xC0, 0x80, MASK), [], 1002),
    "rsv2 on a first fragment": (bits(0x21, 0x80, MASK), [], 1002),
    "a binary message inside a message": (frame(TEXT, b"a", fin=False) + frame(BINARY, b"b"), [], 1002),
    "fragments of one byte": (
        b"".join(frame(CONT if i else TEXT, b"x", fin=i == 5000) for i in range(5001)) + close(1000),
        ["x" * 5001],
        1000,
    ),
    "fragments up to the limit": (
        b"".join(frame(CONT if i else TEXT, b"x" * 64, fin=i == 1023) for i in range(1024)) + close(1000),
        ["x" * LIMIT],
        1000,
    ),
    # 6 UTF-8
    "text beyond the BMP": (text("κόσμε 😀 \U0010ffff") + close(1000), ["κόσμε 😀 \U0010ffff"], 1000),
    "a character in two frames": (
        frame(TEXT, "é".encode()[:1], fin=False) + frame(CONT, "é".encode()[1:]) + close(1000),
        ["é"],
        1000,
    ),
    "invalid UTF-8": (frame(TEXT, b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80"), [], 1007),
    "a surrogate": (frame(TEXT, b"\xed\xa0\x80"), [], 1007),
    "an overlong slash": (frame(TEXT, b"\xc0\xaf"), [], 1007),
    "beyond Unicode": (frame(TEXT, b"\xf4\x90\x80\x80"), [], 1007),
    "a character that does not end": (frame(TEXT, b"a\xe2\x82"), [], 1007),
    "invalid UTF-8 over two frames": (frame(TEXT, b"\xe2", fin=False) + frame(CONT, b"\x28\xa1"), [], 1007),
    "binary need not be UTF-8": (frame(BINARY, b"\xff\xfe") + close(1000), [b"\xff\xfe"], 1000),
    # 7 closing
    "close without a code": (frame(CLOSE), [], 1005),
    "close with a reason": (close(1000, b"bye"), [], 1000),
    "close with the longest reason": (close(1000, b"x" * 123), [], 1000),
    "close with one byte": (frame(CLOSE, b"x"), [], 1002),
    "close with invalid UTF-8": (close(1000, b"\xff"), [], 1007),
    "close with a payload of 126": (bits(0x88, 0xFE, b"\0\x7e" + MASK + b"\x03\xe8" + b"x" * 124), [], 1002),
    "text after close": (close(1000) + text("late"), [], 1000),
    "two closes": (close(1000) + close(1000), [], 1000),
    **{f"close {code}": (close(code), [], code) for code in GOOD_CODES},
    **{f"close {code}": (close(code), [], 1002) for code in BAD_CODES},
    # 9 sizes
    "text over the limit": (text("x" * (LIMIT + 1)), [], 1009),
    "fragments over the limit": (frame(TEXT, b"x" * 40_000, fin=False) + frame(CONT, b"x" * 40_000), [], 1009),
    "a length of 2^63": (bits(0x82, 0xFF, (2**63).to_bytes(8, "big")), [], 1009),
    "an unmasked frame": (frame(TEXT, b"hello", mask=False), [], 1002),
    "an unmasked frame after a masked one": (text("a") + frame(TEXT, b"b", mask=False), ["a"], 1002),
}
