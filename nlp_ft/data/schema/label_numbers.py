"""Numbers as people write them: signs, decimal commas, thousands separators, percent."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection
from typing import NamedTuple

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE | re.ASCII)
_CODE = re.compile(r"[+-]?0\d", re.ASCII)
_WHOLE = re.compile(r"\+?(-?\d+)\.?0*", re.ASCII)
_MINUS = str.maketrans({"\u2212": "-", "\u2013": "-", "\ufe63": "-", "\uff0d": "-"})
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_COMMA_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?", re.ASCII)
_POINT_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+,\d+|[+-]?[1-9]\d{0,2}(\.\d{3}){2,}", re.ASCII)
_POINT_GROUP = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}", re.ASCII)
_SPACE_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}([ \u00a0\u2009\u202f'\u2019]\d{3})+([.,]\d+)?", re.ASCII)
_SEPARATOR = re.compile("[ \u00a0\u2009\u202f'\u2019]")


class NumberStyle(NamedTuple):
    """One way to write numbers: its name, whether a cell has it, and the cell as Python reads it."""

    name: str
    fits: Callable[[str], bool]
    plain: Callable[[str], str]


_STYLES = (
    NumberStyle("a percent sign", lambda cell: cell.endswith("%"), lambda cell: cell[:-1].rstrip()),
    NumberStyle(
        "spaces or apostrophes between thousands",
        lambda cell: bool(_SPACE_THOUSANDS.fullmatch(cell)),
        lambda cell: _SEPARATOR.sub("", cell).replace(",", "."),
    ),
    NumberStyle(
        "points between thousands",
        lambda cell: bool(_POINT_THOUSANDS.fullmatch(cell)),
        lambda cell: cell.replace(".", "").replace(",", "."),
    ),
    NumberStyle(
        "commas between thousands",
        lambda cell: bool(_COMMA_THOUSANDS.fullmatch(cell)) and (cell.count(",") > 1 or "." in cell),
        lambda cell: cell.replace(",", ""),
    ),
    NumberStyle(
        "a decimal comma", lambda cell: bool(_DECIMAL_COMMA.fullmatch(cell)), lambda cell: cell.replace(",", ".")
    ),
)
STYLE_NAMES = frozenset(style.name for style in _STYLES)
PERCENT, _, _POINTS, THOUSANDS, DECIMAL_COMMA = (style.name for style in _STYLES)


class Numbers(NamedTuple):
    """Strings as numbers.

    plain: each distinct string as Python reads it. styles: unusual ways to write that were met, each with an example.
    either: a string whose comma may be decimal or between thousands, where nothing tells; None elsewhere.
    """

    plain: dict[str, str]
    styles: dict[str, str]
    either: str | None = None


def is_number(text: str) -> bool:
    """Whether a string is a number and loses nothing as one ("007" would)."""
    return _NUMBER.fullmatch(text) is not None and not _CODE.match(text)


def number_name(value: str | float) -> str:
    """A number as a class name: "1" for 1, 1.0, "+1", "1e0" and "1.0".

    Fractions as they are written, without a plus sign.
    """
    text = str(value)
    whole = _WHOLE.fullmatch(text)
    if whole:
        return "0" if whole[1] in ("-0", "0") else whole[1]
    if "e" in text.lower() and is_number(text) and "inf" not in text.lower():
        number = float(text)
        return str(int(number)) if number.is_integer() and abs(number) < 2**53 else text.removeprefix("+")
    return text.removeprefix("+") if is_number(text) else text


def ascii_number(text: str) -> str:
    """A string with the minus signs and digits of other scripts as ASCII."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text).translate(_MINUS)


def read_numbers(cells: Collection[str]) -> Numbers | None:
    """Read distinct strings as numbers; None where one of them is none in any way to write."""
    plain: dict[str, str] = {}
    styles: dict[str, str] = {}
    for cell in cells:
        number = ascii_number(cell)
        if number != cell and is_number(number):
            styles.setdefault("another script's sign or digits", cell)
        for style in _STYLES:
            if style.fits(number):
                number = style.plain(number)
                styles.setdefault(style.name, cell)
        if not is_number(number):
            return None
        plain[cell] = number
    return _settled(plain, styles)


def _settled(plain: dict[str, str], styles: dict[str, str]) -> Numbers | None:
    """Numbers in which a comma, and a point, mean the same in every cell; None where they cannot."""
    if _POINTS in styles or (DECIMAL_COMMA in styles and any(map(_POINT_GROUP.fullmatch, plain))):
        for cell in plain:
            if _POINT_GROUP.fullmatch(cell):
                plain[cell] = cell.replace(".", "")
    if DECIMAL_COMMA not in styles:
        return Numbers(plain, styles)
    commas = [cell for cell in plain if "," in cell]
    thousands = all(_COMMA_THOUSANDS.fullmatch(ascii_number(cell).rstrip("% ")) for cell in commas)
    if THOUSANDS in styles:
        if not thousands:
            return None
        del styles[DECIMAL_COMMA]
        return Numbers(plain | {cell: ascii_number(cell).rstrip("% ").replace(",", "") for cell in commas}, styles)
    return Numbers(plain, styles, commas[0] if thousands else None)
