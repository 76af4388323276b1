"""Names of people: what is allowed in one, which two look alike, and the friendly ones that guests are given.

Two names look alike where their skeletons meet (UTS #39, 4): every character is replaced by the prototype of
those it can be confused with, from Unicode's own table in `lookalikes.txt`.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib import resources
from typing import Final

MAX_LENGTH: Final = 32  # characters, after NFKC
MAX_MARKS: Final = 4  # combining marks in a row; more are only there to paint over other lines

_JOINERS: Final = "\u200c\u200d"  # needed in Persian, in Indic scripts and in emoji
_FORBIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})

_MANNERS: Final = (
    "Able Amber Bold Brave Breezy Bright Brisk Calm Clever Cosy Crisp Dapper Eager Early Fair Fancy Fleet Fond "
    "Gentle Glad Golden Grand Happy Hardy Honest Humble Jolly Keen Kind Lively Lucky Mellow Merry Mighty Mild "
    "Modest Neat Nimble Noble Patient Placid Plucky Polite Proud Quick Quiet Rapid Ready Royal Rustic Serene "
    "Sharp Shiny Silent Silver Sincere Snug Solid Steady Sunny Swift Tidy Vivid Warm Wise Witty"
)
_BEASTS: Final = (
    "Albatross Badger Beaver Bison Bittern Buzzard Camel Caribou Cheetah Cormorant Crane Curlew Deer Dolphin "
    "Dormouse Eagle Egret Elk Falcon Ferret Finch Fox Gannet Gazelle Gecko Goose Hare Hedgehog Heron Ibex Ibis "
    "Jackdaw Kestrel Kingfisher Kiwi Koala Lark Lemur Lynx Magpie Marmot Marten Mole Moose Newt Ocelot Osprey "
    "Otter Owl Panda Pelican Penguin Plover Puffin Rabbit Raven Robin Salmon Seal Shrew Sparrow Squirrel Stoat "
    "Stork Swallow Swan Swift Tapir Teal Tern Thrush Toad Turtle Vole Walrus Weasel Whale Wombat Wren Zebra"
)
_ADJECTIVES: Final = _MANNERS.split()
_ANIMALS: Final = _BEASTS.split()


class NameRefused(ValueError):
    """The name cannot be used; the message says why, for the client."""


def cleaned(name: str) -> str:
    """The name as it is kept: NFKC, without space at its ends or twice in a row. Raises NameRefused."""
    name = " ".join(unicodedata.normalize("NFKC", name).split(" ")).strip()
    while "  " in name:
        name = name.replace("  ", " ")
    if not name.strip(_JOINERS):
        raise NameRefused("a name needs a character that can be seen")
    if len(name) > MAX_LENGTH:
        raise NameRefused(f"a name has at most {MAX_LENGTH} characters")
    marks = 0
    for character in name:
        category = unicodedata.category(character)
        if (category in _FORBIDDEN and character not in _JOINERS) or _is_noncharacter(ord(character)):
            raise NameRefused(f"U+{ord(character):04X} is not allowed in a name")
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks > MAX_MARKS:
            raise NameRefused("too many marks on one character")
    return name


def _is_noncharacter(code: int) -> bool:
    return code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF


def keys_of(name: str) -> frozenset[str]:
    """What two names share if they look alike.

    Case counts for nothing, but folding it first would hide that a capital I looks like a small l: so there
    are two keys, one folded before and one after.
    """
    return frozenset((_skeleton(name).casefold(), _skeleton(name.casefold())))


def folded(name: str) -> str:
    """What two spellings of the same name share: for finding who is meant, not for telling look-alikes."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFKC", name).casefold()


def generated(number: int) -> str:
    """A friendly name for the guest with that number; the same number always gives the same name."""
    number, digits = divmod(number, 90)
    number, animal = divmod(number, len(_ANIMALS))
    return f"{_ADJECTIVES[number % len(_ADJECTIVES)]}{_ANIMALS[animal]}{digits + 10}"


def _skeleton(name: str) -> str:
    """UTS #39, 4: NFD, prototypes, NFD again; spaces and joiners, which can hardly be seen, do not count."""
    prototypes = _prototypes()
    decomposed = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", name))
    shown = "".join(prototypes.get(one, one) for one in decomposed if one not in _JOINERS and one != " ")
    return unicodedata.normalize("NFD", shown)


@cache
def _prototypes() -> dict[str, str]:
    """Each confusable character's prototype; read when the first name is compared, in about 2 ms."""
    table = resources.files("workers.chat").joinpath("lookalikes.txt").read_text(encoding="ascii")
    prototypes: dict[str, str] = {}
    for line in table.splitlines():
        if not line.startswith("#"):
            prototype, _, sources = line.partition(" < ")
            whole = "".join(chr(int(code, 16)) for code in prototype.split())
            prototypes.update((chr(int(code, 16)), whole) for code in sources.split())
    return prototypes
