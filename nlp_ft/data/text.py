"""Short forms of texts and counts for messages; words in any script; blank texts."""

from __future__ import annotations

import re
import unicodedata

_IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff々〇"
_HIRAGANA, _KATAKANA = "\u3041-\u309f", "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_SYLLABIC = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u0edc-\u0edf\u1000-\u103f\u1050-\u108f\u1780-\u17d3"  # Thai and kin
)
UNSPACED = f"{_IDEOGRAPHS}{_HIRAGANA}{_KATAKANA}{_SYLLABIC}"  # letters of scripts that put no space between words
_MARKS = "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u17b4-\u17d3"
UNIT = f"(?:[{_IDEOGRAPHS}]|[{_KATAKANA}]+|[{_HIRAGANA}]{{1,2}}|(?:[{_SYLLABIC}][{_MARKS}]*){{1,3}})"
_WORDS = re.compile(rf"{UNIT}|(?:(?!\s|[{UNSPACED}]).)+", re.DOTALL)
_HAS_UNSPACED = re.compile(f"[{UNSPACED}]")
_UNSEEN = frozenset("\u2800\u3164\u115f\u1160\uffa0\ufffc")  # letters and signs that leave no mark


def cut(text: str, length: int = 200) -> str:
    """A text as an example shows it: on one line, cut."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 3] + "..."


def shown(value: object) -> str:
    """A value as an error quotes it: its repr, cut to 40 characters."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def counted(number: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def split_by_words(text: str) -> list[str]:
    """The words of a text in any script.

    Between spaces; where a script has none between words, a Han character, a run of katakana, two hiragana, or three
    letters of Thai, Lao, Khmer or Burmese with their marks count as a word. Signs beside such letters go with no word.
    """
    if not _HAS_UNSPACED.search(text):
        return text.split()
    return [word for word in _WORDS.findall(text) if any(map(str.isalnum, word))]


def is_blank(text: str) -> bool:
    """Whether a text has no visible character: nothing, spaces, control or format characters."""
    return not any(map(_is_visible, text))


def _is_visible(character: str) -> bool:
    if character.isspace() or character in _UNSEEN:
        return False
    return unicodedata.category(character) not in ("Cc", "Cf")
