"""Merge several rewrites of one text.

The edits of each rewrite are applied unless they touch the same characters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

Edit = tuple[int, int, str]  # start, end, replacement

_MOST_CHARACTERS = 600  # compared one by one; longer texts word by word
_MOST_WORDS = 1500  # compared one by one; what is longer still counts as one edit


@dataclass(frozen=True)
class Step:
    """One rewrite of a text as it was carried out.

    `left_out`: how many of its edits were not.
    """

    before: str
    after: str
    left_out: int


def edits(before: str, after: str) -> list[Edit]:
    """Edits that turn one text into the other, in order.

    By character in short texts, by word in long ones.
    """
    start = _common(before, after)
    end = _common(before[start:][::-1], after[start:][::-1])
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    return [(start + low, start + high, text) for low, high, text in _changes(old, new)]


def _common(first: str, second: str) -> int:
    """Length of the common prefix of two texts."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (left, right) in pairs if left != right), min(len(first), len(second)))


def _changes(old: str, new: str) -> list[Edit]:
    olds, news = _units(old), _units(new)
    if not olds or not news or max(len(olds), len(news)) > _MOST_WORDS:
        return [(0, len(old), new)] if old or new else []
    starts = [0]
    for unit in olds:
        starts.append(starts[-1] + len(unit))
    codes = SequenceMatcher(None, olds, news, autojunk=False).get_opcodes()
    return [(starts[i], starts[j], "".join(news[k:m])) for tag, i, j, k, m in codes if tag != "equal"]


def _units(text: str) -> list[str]:
    return list(text) if len(text) <= _MOST_CHARACTERS else re.findall(r"\S+\s*|\s+", text)


def merged(before: str, afters: Sequence[str], parts: Sequence[str], delimiter: str) -> tuple[list[Step], list[str]]:
    """Carry out several rewrites of one text, the first one first.

    An edit is left out where an earlier rewrite has changed the same characters, or where it reaches from one part into
    the next. parts: `delimiter` joined them to the text. Returns: the steps, and the rewritten parts.
    """
    if len(afters) == len(parts) == 1:
        return [Step(before, afters[0], 0)], [afters[0]]
    starts = [sum(len(part) + len(delimiter) for part in parts[:number]) for number in range(len(parts))]
    taken: list[Edit] = []
    steps, text = [], before
    for after in afters:
        wanted = [edit for edit in edits(before, after) if edit not in taken]
        fitting = [
            edit for edit in wanted if _inside(edit, parts, starts) and not any(_touch(edit, other) for other in taken)
        ]
        taken = sorted([*taken, *fitting])
        new = _carried_out(before, taken)
        steps.append(Step(text, new, len(wanted) - len(fitting)))
        text = new
    return steps, _parts(parts, starts, taken)


def _inside(edit: Edit, parts: Sequence[str], starts: Sequence[int]) -> bool:
    return any(start <= edit[0] and edit[1] <= start + len(part) for part, start in zip(parts, starts, strict=True))


def _touch(first: Edit, second: Edit) -> bool:
    """Whether two edits change the same characters, or insert at the same position."""
    return first[:2] == second[:2] or (first[0] < second[1] and second[0] < first[1])


def _carried_out(text: str, changes: Sequence[Edit]) -> str:
    pieces, done = [], 0
    for start, end, new in changes:
        pieces += [text[done:start], new]
        done = end
    return "".join([*pieces, text[done:]])


def _parts(parts: Sequence[str], starts: Sequence[int], changes: Sequence[Edit]) -> list[str]:
    """Each part with the edits that lie in it.

    An edit between two parts that touch belongs to the first.
    """
    rewritten, left = [], list(changes)
    for part, start in zip(parts, starts, strict=True):
        inside = [edit for edit in left if start <= edit[0] and edit[1] <= start + len(part)]
        left = [edit for edit in left if edit not in inside]
        rewritten.append(_carried_out(part, [(low - start, high - start, new) for low, high, new in inside]))
    return rewritten
