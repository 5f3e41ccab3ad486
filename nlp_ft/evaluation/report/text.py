"""Text for terminals and pages: percentages, visible characters, columns."""

from __future__ import annotations

import re
import unicodedata

# What could move the cursor, turn the writing direction, or is no character: C0, C1, bidi controls, half surrogate pairs.
_SPACES = re.compile(r"[ \t\r\n\f\v]+")


_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def visible(text: str) -> str:
    r"""A text on one line, with control characters as their escapes, like `\x1b`.

    They could drive a terminal or break a page.
    """
    line = _SPACES.sub(" ", text).strip(" ")
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), line)


def percent(share: float) -> str:
    """`12.3%`; what is there but rounds to nothing is `<0.1%`."""
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def columns_of(text: str) -> int:
    """Number of columns of a terminal that a text takes.

    Two for a wide character, none for one that joins the one before.
    """
    return sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, columns: int) -> str:
    """A text cut to so many columns, with an ellipsis where it was longer."""
    if columns_of(text) <= columns:
        return text
    kept, room = [], columns - 1
    for character in text:
        room -= _columns_of(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept).rstrip() + "…"
