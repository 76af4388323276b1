"""No request costs the loop more than 5 ms for each 64 KB, whatever it holds."""

from __future__ import annotations

import gc
import json
import re
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings, target
from hypothesis import strategies as st

from chatmaster.settings import Auth
from tests.workers.chat.play import Play
from workers.bus.port import Amendment
from workers.chat.history import members
from workers.chat.hooks import Person, SayRequest, WordFilter
from workers.chat.rules.amendments import amended
from workers.chat.rules.effects import ReadMembers
from workers.chat.rules.entries import body_of_text, message, reacted, sender
from workers.chat.rules.identity import Identities, Identity, Role
from workers.chat.rules.mentions import MentionIndex
from workers.chat.rules.names import keys_of
from workers.main import GC_THRESHOLD
from workers.presence import PresentUsers

SIZE = 65_536  # bytes: `limits.message_size`


def _reference() -> float:
    """Seconds of CPU that a hundred thousand simple steps take here."""
    began = time.thread_time()
    total = 0
    for number in range(100_000):
        total += number & 3
    return time.thread_time() - began


# What 64 KB may cost in seconds, where the steps above take 3 ms. The rule is 5 ms; the test allows as much
# again, since other processes share the caches and the core.
MOST = 0.010


def cost(work: Callable[[], Any], enough: float = MOST / 2) -> float:
    """Seconds of CPU where the reference takes 3 ms: the least of some runs; others' work only adds to it.

    What the collector does while it works counts, as in a worker: what was there before is not its affair.
    """
    least = reference = float("inf")
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    try:
        for _ in range(8):
            reference = min(reference, _reference())
            began = time.thread_time()
            work()
            least = min(least, time.thread_time() - began)
            if least < enough:
                break
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
    return least * min(1.0, 0.003 / reference)


def crowd() -> MentionIndex:
    """Names that make each lookup as dear as it can be: many that begin alike."""
    people = MentionIndex()
    for number in range(40):
        people.add(f"u{number}", ("a" + " b" * number)[:32])
        people.add(f"v{number}", ("." + "a" * number)[:32])
        people.add(f"w{number}", f"a{number}")
    return people


def filled(unit: str, size: int = SIZE - 100) -> str:
    """The unit, as often as it fits into so many bytes."""
    return unit * (size // max(1, len(unit.encode())))


def member(settings: dict[str, Any] | None = None) -> Play:
    """Somebody who is in a room and asks as often as they like."""
    play = Play({"limits": {"rate": 0}, **(settings or {})})
    play.context.mentions = crowd()
    play.says_hello(rooms=[{"room": "lobby"}])
    return play


UNITS = [
    "@\ufdfa,", "@a.", " @a", "@", "@@", "@ ", " @a b", " @a" + " b" * 16, "@\u1e9b\u0323", "@" + "\u00df" * 32 + " ",
    "@room ", "@.", "@.a", "\ufdfa", "a\u0301\u0323", "\U0001f468\u200d", "@\u0130", "\u3300@", "a", "\u0000", '"',
    "\\", " - at `$.", "unknown field `", "`",
]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS, ids=ascii)
def test_a_text_costs_no_more_than_its_size_allows(unit: str):
    """64 KB of "@\\ufdfa," cost 1 to 4 s: each `@` tried up to 32 slices, and folded them."""
    play = member()
    text = json.dumps({"type": "say", "room": "lobby", "text": filled(unit)}, ensure_ascii=False)
    assert play.sends(text)
    assert cost(lambda: play.sends(text)) < MOST


PARTS = ["@", "a", " b", ".", "\ufdfa", "\u1e9b\u0323", ",", "\u00df", "room"]


@given(parts=st.lists(st.sampled_from(PARTS), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
def test_nor_does_any_mixture(parts: list[str]):
    people, text = crowd(), filled("".join(parts))
    spent = cost(lambda: people.mentioned("lobby", text))
    target(spent * 1000)
    assert spent < MOST


def shapes() -> dict[str, str]:
    """Requests of 64 KB or less that are dear to read or to refuse."""
    depth = SIZE // 2 - 50
    say = '{"type":"say","room":"lobby","data":%s}'
    keys = ",".join(f'"k{number}":1' for number in range(SIZE // 10))
    rooms = ",".join(f'{{"room":"r{number}"}}' for number in range(1000))
    since = ",".join(
        f'{{"room":"r{number}","since":{{"epoch":"e{number}","offset":{number}}}}}' for number in range(1000)
    )
    return {
        "deep lists": say % ("[" * depth + "]" * depth),
        "deep objects": say % ('{"a":' * (SIZE // 6) + "1" + "}" * (SIZE // 6)),
        "63 deep and wide": say % ("[" * 60 + filled("[],")[:-1] + "]" * 60),
        "chains of lists": say % ("[" + filled("[" * 60 + "]" * 60 + ",")[:-1] + "]"),
        "short chains of lists": say % ("[" + filled("[[]],")[:-1] + "]"),
        "chains of objects": say % ("[" + filled('{"":' * 60 + "1" + "}" * 60 + ",")[:-1] + "]"),
        "lists of one": say % ("[" + filled("[0],")[:-1] + "]"),
        "brackets in strings": say % ("[" + filled('"[{",[],')[:-1] + "]"),
        "flat lists": say % ("[" + filled("[],")[:-1] + "]"),
        "flat objects": say % ("[" + filled("{},")[:-1] + "]"),
        "numbers": say % ("[" + filled("1,")[:-1] + "]"),
        "floats": say % ("[" + filled("1e9,")[:-1] + "]"),
        "one long integer": say % filled("9"),
        "one long fraction": say % ("0." + filled("1")),
        "many long integers": say % ("[" + filled("9" * 4000 + ",")[:-1] + "]"),
        "one key, again and again": say % ("{" + filled('"a":1,')[:-1] + "}"),
        "many keys": say % ("{" + keys + "}"),
        "escapes": say % ('"' + filled("\\u00e9") + '"'),
        "surrogates": say % ('"' + filled("\\ud83d\\ude00") + '"'),
        "half a surrogate": say % ('"' + filled("\\ud83d") + '"'),
        "a long unknown key": '{"type":"say","' + filled("unknown field ` - at `$") + '":1}',
        "many unknown keys": '{"type":"say",' + keys + "}",
        "a long type": '{"type":"' + filled("` - at `$.") + '"}',
        "a long room": '{"type":"join","room":"' + filled("a") + '"}',
        "a long emoji": '{"type":"react","room":"lobby","offset":1,"emoji":"' + filled("a") + '"}',
        "a long user": '{"type":"direct","to":"' + filled("a:") + '","text":"a"}',
        "a long name": '{"type":"rename","name":"' + "\ufdfa" * 256 + '"}',
        "a long id": '{"type":"ping","id":"' + filled("a") + '"}',
        "space": " " * (SIZE - 20) + '{"type":"ping"}',
        "a hello of rooms": '{"type":"hello","rooms":[' + rooms + "]}",
        "a hello of places": '{"type":"hello","rooms":[' + since[: SIZE - 200].rpartition(",{")[0] + "]}",
    }


@pytest.mark.parametrize("shape", list(shapes()))
def test_nor_does_any_shape_of_json(shape: str):
    data = shapes()[shape]
    assert len(data.encode()) <= SIZE + 1000

    if "hello" in shape:
        assert _cost_of_hello(data, {}) < MOST
        return
    play = member()
    assert play.sends(data)
    assert cost(lambda: play.sends(data)) < MOST


RULES = [{"match": "*a" * 8 + "*b", "slow_mode": 1.0}, {"match": "*a*a*a*a*b"}]


def test_patterns_of_rooms_are_matched_in_linear_time():
    """The pattern is the operator's, the name of the room is the attacker's: `*a*a*a*b` was tried in every way."""
    play = member({"rooms": RULES})
    names = iter(range(10**6))

    def look() -> None:
        for _ in range(50):
            play.context.options.of("a" * 58 + f"{next(names):06d}")

    assert cost(look) < MOST
    rooms = ",".join(f'{{"room":"{"a" * 50}{number}"}}' for number in range(900))
    assert _cost_of_hello('{"type":"hello","rooms":[' + rooms + "]}", {"rooms": RULES}) < MOST


def _cost_of_hello(data: str, settings: dict[str, Any]) -> float:
    """A hello begins a session, so each run needs one of its own."""
    plays = [Play({"limits": {"rate": 0}, **settings}) for _ in range(8)]
    return cost(lambda: plays.pop().sends(data))


@pytest.mark.parametrize("claim", ["name", "sub"])
@pytest.mark.parametrize("unit", ["\ufdfa", "guest\u02d0", "a\u0301", "\u3300"], ids=ascii)
def test_nor_does_a_token_whatever_its_issuer_lets_people_call_themselves(claim: str, unit: str):
    """A name of 4,000 "\ufdfa" in a token cost 0.2 s: it was folded eight times before it was found too long."""
    secret = "a secret of thirty-two characters"
    names = Identities(Auth(secret=secret), guest_secret=b"guests", new_guest=lambda: "0")
    token = jwt.encode({"sub": "u", claim: filled(unit, 12_000)}, secret, json_encoder=Unescaped)
    assert 10_000 < len(token) <= 16_384
    # A quarter of 64 KB; twice its share, because PyJWT looks at each byte of a token in Python (1.3 ms).
    assert cost(lambda: names.identify(token, 0.0), MOST / 4) < MOST / 2


class Unescaped(json.JSONEncoder):
    """As issuers in other languages write it."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**{**how, "ensure_ascii": False})


def test_a_request_is_charged_for_its_work_too():
    """The second of two texts of one size makes the server look up names, so fewer of it are taken."""

    def taken(text: str) -> int:
        play = Play({"limits": {"rate": 0.001, "burst": 100}})
        play.says_hello(rooms=[{"room": "lobby"}])
        data = json.dumps({"type": "say", "room": "lobby", "text": text})
        return sum("rate_limited" not in str(play.sends(data)) for _ in range(120))

    plain, dear = taken("a " * 1000), taken("@ " * 1000)
    assert plain > 90 and dear < 15


def test_a_name_that_begins_with_punctuation_can_be_mentioned():
    people = MentionIndex()
    for user, name in (("u1", ".net"), ("u2", "-=Zed=-"), ("u3", "~"), ("u4", "Jean-Luc"), ("u5", "@home")):
        people.add(user, name)
    assert people.mentioned("r", "@.net and @-=zed=-, @~! @jean-luc @@home") == ("u1", "u2", "u3", "u4", "u5")
    assert people.mentioned("r", "a@.net @.nets x@~") == ()


def test_the_names_that_are_looked_at_are_those_that_are_known():
    """What is given up leaves nothing in the index by first word."""
    people = MentionIndex()
    for name in ("Ada", "Ada Lovelace", "Eve", "Ada"):
        people.add("u1", name)
    people.add("u2", "Ada")
    people.add("u1", "Bea")
    people.add("u2", "Bea Moor")
    assert people._lengths == {"bea": {8: 1}}, "names of one word are found without it"


POLITE = WordFilter(["darn", "heck", "scunthorpe", "\u0434\u0443\u0440\u0430\u043a", "stra\u00dfe", "\u99ac\u9e7f"])
ANYONE = Person("u", "U", "user", "", True)


WORDY = [
    "a ", "d ", "da ", "dar ", "darn ", "d", "\ufdfa ", "\u0434 ", "\u0434\u0443\u0440\u0430 ", "heck", "\U0001d41d ",
    "rn m ", "scunthorp ", "dar\u0440\u0430 ",
]  # fmt: skip


@pytest.mark.parametrize("unit", WORDY, ids=ascii)
def test_the_word_filter_costs_no_more_either(unit: str):
    """64 KB of short words took it 0.5 s: each was folded."""
    text = filled(unit)
    assert cost(lambda: POLITE(SayRequest(ANYONE, "r", text=text))) < MOST


WRITTEN = [
    "darn", "DARN", "d\u0430rn", "dam", "\uff44\uff41\uff52\uff4e", "\U0001d41d\U0001d41a\U0001d42b\U0001d427",
    "\u0501arn", "hec\u212a", "\u041d\u0415\u0421K", "\u0434\u0443\u0440\u0430\u043a",
    "\u0414\u0423\u0420\u0410\u041a", "STRASSE", "stra\u00dfe", "\u99ac\u9e7f", "scunth0rpe",
]  # fmt: skip


@pytest.mark.parametrize("word", WRITTEN, ids=ascii)
def test_the_word_filter_knows_a_word_in_other_clothes(word: str):
    starred = word[0] + "*" * (len(word) - 1)
    assert POLITE(SayRequest(ANYONE, "r", text=f"so {word}, {word}x x{word}")) == f"so {starred}, {word}x x{word}"


@given(st.text(alphabet="darnhecmDARN\u0430\u0501\uff4d\u212f ", max_size=12))
def test_the_word_filter_finds_whatever_looks_alike(text: str):
    """As `keys_of` says, which compares names."""
    keys = keys_of("darn") | keys_of("heck")
    alike = [word for word in re.findall(r"\w+", text) if keys_of(word) & keys]
    found = POLITE(SayRequest(ANYONE, "r", text=text))
    assert not alike or isinstance(found, str)


def test_the_reactions_of_a_message_cost_their_number():
    """Each was put into the list of those before it, which was read and written anew: 4,000 took 0.26 s."""

    def changes(count: int) -> list[Amendment]:
        payloads = (
            reacted("r", sender(f"u{number}", "N"), 1, f"{number % 7}", remove=False) for number in range(count)
        )
        return [Amendment("react", 1, payload) for payload in payloads]

    payload = message("r", sender("u", "N"), body_of_text("x"))
    few, many = changes(1000), changes(4000)
    assert cost(lambda: amended(payload, many)) < 8 * cost(lambda: amended(payload, few), enough=0.0)
    assert cost(lambda: amended(payload, few)) < MOST
    assert json.loads(amended(payload, many))["reactions"]["3"][:2] == ["u3", "u10"]


async def test_the_members_of_a_room_cost_their_number():
    """Those that the store does not know yet were counted by comparing each with all others."""

    async def nobody(room: str, most: int) -> PresentUsers:
        return PresentUsers((), 0)

    identities = [Identity(f"u{number % 700}", "N") for number in range(2000)]
    asked = ReadMembers(1, "r")
    began = time.thread_time()
    page = await members(
        nobody, asked, here=lambda: identities, learn=lambda user, name: None, role_of=lambda user: Role.USER
    )
    assert time.thread_time() - began < 4 * MOST
    told = json.loads(page.payload)
    assert told["count"] == 700 and told["members"][0] == {"user": "u0", "name": "N", "connections": 3}
