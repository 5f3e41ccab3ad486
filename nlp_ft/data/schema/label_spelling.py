"""Class names that differ in spelling alone: in case, spaces, punctuation, Unicode form or zeros of a number."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nlp_ft.data.schema.label_numbers import is_number
from nlp_ft.utils import warning

_BETWEEN = re.compile(r"(?<=[^\W\d_])[\s_.,/'’‐‑–-]+(?=\w)|(?<=\w)[\s_.,/'’‐‑–-]+(?=[^\W\d_])")
_AROUND = " .,;:!?\"'()[]\u201c\u201d\u2018\u2019\u200b\ufeff"
_ZEROS = re.compile(r"([+-]?)0+(?=\d)", re.ASCII)


def spelling_key(name: str) -> str:
    """A key that is equal for names which are likely meant to be one.

    Signs that tell names apart stay: "C" and "C++", "A-" and "A", "1.5" and "15", ":)" and ":(".
    """
    plain = unicodedata.normalize("NFKC", name).casefold()
    number = _ZEROS.sub(r"\1", plain)
    if is_number(number):
        return repr(float(number))
    return unicodedata.normalize("NFC", _BETWEEN.sub("", plain.strip(_AROUND))) or plain


def spelling_groups(names: Iterable[str]) -> list[list[str]]:
    """Groups of two names or more that differ in spelling alone, in order of appearance."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(spelling_key(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def alike(name: str, names: Iterable[str]) -> str | None:
    """The one of these names that differs from another one in spelling alone, or None."""
    key = spelling_key(name)
    return next((other for other in names if spelling_key(other) == key), None)


def most_frequent_spellings(rows: Sequence[str | list[str]]) -> dict[str, str]:
    """For each name of the rows the most frequent one of its spellings.

    Among equals the last by code point: good before GOOD.
    """
    counts = Counter(name for row in rows for name in ([row] if isinstance(row, str) else row))
    best = {name: name for name in counts}
    for group in spelling_groups(counts):
        chosen = max(group, key=lambda name: (counts[name], name))
        best |= dict.fromkeys(group, chosen)
    return best


def merged(rows: Sequence[str | list[str]], spellings: Mapping[str, str]) -> list[Any]:
    """Rows with each name as it is spelled there; a spelling that is not there is taken for one that is like it."""
    by_key = {spelling_key(name): chosen for name, chosen in spellings.items()}

    def chosen(name: str) -> str:
        return spellings.get(name) or by_key.get(spelling_key(name), name)

    return [chosen(row) if isinstance(row, str) else sorted({chosen(name) for name in row}) for row in rows]


def spelling_warning(names: Iterable[str]) -> list[str]:
    """A note on classes that differ in spelling alone, or none."""
    groups = spelling_groups(names)
    if not groups:
        return []
    shown = "; ".join(" and ".join(f'"{name}"' for name in group) for group in groups[:5])
    more = f" (and {len(groups) - 5} more groups)" if len(groups) > 5 else ""
    return [
        warning(
            f"the labels {shown}{more} differ in case, spaces, punctuation or Unicode form alone, and are a class each; "
            "--merge_label_spellings takes them for one"
        )
    ]
