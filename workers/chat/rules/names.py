"""Names of people: the characters a name may have, names that look alike, and the friendly names given to guests.

Two names look alike if their skeletons are equal (UTS #39, 4): invisible characters are left out, and every character
is replaced by the prototype of those it can be confused with, from Unicode's own table in `lookalikes.txt`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from importlib import resources
from typing import Final

MAX_LENGTH: Final = 32  # characters, after NFKC
MAX_RAW: Final = 256  # characters before NFKC; bounds the cost of checking a name
MAX_OTHERS: Final = 32  # generated names that are tried in the place of a taken name
MAX_MARKS: Final = 4  # combining marks in a row; more only serve to paint over other lines

OPERATOR: Final = "operator"  # the name under which chatctl speaks
RESERVED: Final = (OPERATOR, "moderator", "admin", "administrator")  # for users with such a role

_JOINERS: Final = "\u200c\u200d"  # needed in Persian, in Indic scripts and in emoji
_EMOJI_STYLE: Final = "\ufe0e\ufe0f"  # whether a symbol is drawn as text or as an emoji
_VIRAMA: Final = 9  # the combining class of the sign that joins two letters of an Indic script
# Default_Ignorable_Code_Point (DerivedCoreProperties.txt of Unicode 16; what is to come in these ranges has it, too).
_IGNORABLE: Final = frozenset(
    code
    for first, last in (
        (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
        (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
        (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
    )
    for code in range(first, last + 1)
)  # fmt: skip
_VARIANTS: Final = range(0xE0100, 0xE01F0)  # ways to write a Han character, in Japanese names
# What fonts draw as nothing: Ogham space, Braille blank, Khitan filler, Egyptian blanks, null notehead, object.
_BLANK: Final = frozenset((0x1680, 0x2800, 0x16FE4, 0x13441, 0x13442, 0x1D159, 0xFFFC))
# What else stands for a letter in a word that everybody knows; `I` and `l` are alike already.
_STAND_INS: Final = str.maketrans("01i|!34@5$7+", "olllleaasstt")
_LETTERS: Final = frozenset({"Lu", "Ll", "Lt", "Lo", "Nd"})
_NUMBER: Final = "0123456789 "
_CLOTHES: Final = re.compile(
    r"(?:(?:CROSSED )?(?:NEGATIVE )?(?:CIRCLED|SQUARED) )?LATIN (?:CAPITAL|SMALL) LETTER ([A-Z])(?: WITH .*)?\Z"
    r"|REGIONAL INDICATOR SYMBOL LETTER ([A-Z])\Z"
)
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
    """The name in the form that is kept: NFKC, no spaces at its ends, no two in a row. Raises NameRefused."""
    if len(name) > MAX_RAW:
        raise NameRefused(f"a name has at most {MAX_LENGTH} characters")
    name = " ".join(unicodedata.normalize("NFKC", name).split(" ")).strip()
    while "  " in name:
        name = name.replace("  ", " ")
    name = _without_variants(name)
    if len(name) > MAX_LENGTH:
        raise NameRefused(f"a name has at most {MAX_LENGTH} characters")
    marks, seen = 0, False
    for at, character in enumerate(name):
        category = unicodedata.category(character)
        if not _is_allowed(name, at, category):
            raise NameRefused(f"U+{ord(character):04X} cannot be in a name: it is not seen there, or misleads")
        seen = seen or category[0] in "LNPS"
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks > MAX_MARKS:
            raise NameRefused("too many marks on one character")
    if not seen:
        raise NameRefused("a name needs a character that can be seen")
    return name


def is_blank(text: str) -> bool:
    """Whether a text has no visible character."""
    text = text.strip()
    if "!" <= text[:1] <= "~":
        return False  # nearly every text
    return not any(_shows(character) for character in set(text))


def _shows(character: str) -> bool:
    code = ord(character)
    return not (code in _IGNORABLE or code in _BLANK or character.isspace() or unicodedata.category(character) == "Cf")


def _without_variants(name: str) -> str:
    """The name without the variation selectors of Han characters: names that differ only there are the same."""
    return "".join(
        character
        for at, character in enumerate(name)
        if ord(character) not in _VARIANTS or at == 0 or unicodedata.category(name[at - 1]) != "Lo"
    )


def _is_allowed(name: str, at: int, category: str) -> bool:
    """Whether a character is visible, or needed for others to be shown correctly."""
    character = name[at]
    if character in _JOINERS:
        return _joins(name, at)
    if character in _EMOJI_STYLE:
        return at > 0 and unicodedata.category(name[at - 1]) == "So"
    code = ord(character)
    is_noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    return not (category in _FORBIDDEN or code in _IGNORABLE or code in _BLANK or is_noncharacter)


def _joins(name: str, at: int) -> bool:
    """Whether a joiner has an effect at its place: after a virama, between Arabic letters, between emoji."""
    before, after = name[at - 1 : at] if at else "", name[at + 1 : at + 2]
    if not before:
        return False
    if unicodedata.combining(before) == _VIRAMA:
        return True
    if not after:
        return False
    if unicodedata.category(after) == "So":
        return before in _EMOJI_STYLE or unicodedata.category(before) in ("So", "Sk")
    return unicodedata.bidirectional(after) == "AL" and unicodedata.bidirectional(before) in ("AL", "NSM")


def keys_of(name: str) -> frozenset[str]:
    """The keys of a name; two names that look alike have a key in common.

    Case is ignored, but folding it first would hide that a capital I looks like a small l. So a name has two keys: one
    is folded before the skeleton is made, the other after.
    """
    return frozenset((_skeleton(name).casefold(), _skeleton(name.casefold())))


def folded(name: str) -> str:
    """A form that all spellings of a name share: for finding the user who is meant, not for finding look-alikes."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFKC", name).casefold()


def is_reserved(name: str) -> bool:
    """Whether a name could be mistaken for the title of a role, and so is only for users with such a role."""
    return bool(_plain(name) & _reserved())


def is_the_operators(name: str) -> bool:
    """Whether a name could be mistaken for the name under which chatctl speaks."""
    return bool(_plain(name) & _plain(OPERATOR))


@lru_cache(maxsize=1024)
def _plain(name: str) -> frozenset[str]:
    """The plain forms of a word: letters without marks, and without digits and symbols that stand for letters.

    The forms are made with and without a number around the word, with and without characters that are no letters, and
    from the look of the small letters and of the capitals.
    """
    shown = "".join(map(_undressed, unicodedata.normalize("NFKC", name)))
    bare = "".join(one for one in unicodedata.normalize("NFKD", shown) if unicodedata.category(one) in _LETTERS)
    words = {word for one in (shown, bare) for word in (one.casefold(), one.casefold().strip(_NUMBER))}
    words |= {word.rstrip(_NUMBER) for word in words}
    return frozenset(_letters(one) for word in words for one in (word, word.upper()))


def _undressed(character: str) -> str:
    """The Latin letter inside a framed one, or one with a stroke, hook or curl that Unicode's table does not list."""
    if character.isascii():
        return character
    found = _CLOTHES.match(unicodedata.name(character, ""))
    return found[1] or found[2] if found else character


def _letters(name: str) -> str:
    alike = _skeleton(name.translate(_STAND_INS)).casefold().translate(_STAND_INS)
    return "".join(one for one in alike if one.isalnum())


@cache
def _reserved() -> frozenset[str]:
    return frozenset(key for word in RESERVED for key in _plain(word))


def generated(number: int) -> str:
    """A friendly name for the guest with a number; the same number always gives the same name."""
    number, digits = divmod(number, 90)
    number, animal = divmod(number, len(_ANIMALS))
    return f"{_ADJECTIVES[number % len(_ADJECTIVES)]}{_ANIMALS[animal]}{digits + 10}"


def _skeleton(name: str) -> str:
    """UTS #39, 4: NFD without ignorable characters, prototypes, NFD again; spaces are hardly visible, so left out."""
    if name.isascii():  # every normal form of it is itself, and its prototypes are in NFD
        return name.translate(_shown_as())
    decomposed = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", name))
    return unicodedata.normalize("NFD", decomposed.translate(_shown_as()))


def not_taken(name: str, number: int, taken: Callable[[str], bool]) -> str:
    """The generated name of a guest; if it is taken, one of the next names; the same name if all of those are taken."""
    others = (generated(number + step) for step in range(1, MAX_OTHERS))
    return next((other for other in others if not taken(other)), name) if taken(name) else name


def confusables() -> Iterable[str]:
    """Every character that can be confused with another by Unicode's table, and the characters of the prototypes."""
    prototypes = _prototypes()
    return {*prototypes, *(one for prototype in prototypes.values() for one in prototype)}


@cache
def _shown_as() -> dict[int, str | None]:
    """What each character of a name is compared as, for `str.translate`; None: the character is left out."""
    prototypes = {ord(one): prototype for one, prototype in _prototypes().items()}
    return prototypes | dict.fromkeys((*_IGNORABLE, ord(" ")))


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
