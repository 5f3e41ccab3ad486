"""Several names in one string: the delimiter between them, found where the names recombine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

SEMICOLON = ";"
_CLEAR = (SEMICOLON, "||", "|", "\n", ",", "、", "，", "；")
_DELIMITERS = (*_CLEAR, "/", "+", "&")  # these last also stand inside names: and/or, C++, R&B
_MOBILE = 2 / 3  # of the names that stand behind another, from which the order of names carries no meaning


def find_delimiter(cells: Iterable[str]) -> str | None:
    """The delimiter by which distinct cells are several names each, or None where each is one.

    At least two parts of combined cells, and half of them all, must occur in another cell too. Beside `;` two thirds of the
    parts that stand behind another must also stand alone or in front elsewhere: in "Portland, OR" and "Portland, ME", or
    "Sports/Tennis" and "Sports", they never do.
    """
    distinct = [cell for cell in set(cells) if cell]
    for delimiter in _DELIMITERS:
        if any(delimiter in cell for cell in distinct) and _recombine(distinct, delimiter):
            return delimiter
    return None


def delimiter_in(cells: Collection[str]) -> str | None:
    """The delimiter that occurs in some cells, where the problem is known to be multi-label; None where none does."""
    return next((delimiter for delimiter in _CLEAR if any(delimiter in cell for cell in cells)), None)


def known_delimiter(cells: Collection[str], names: Collection[str]) -> str:
    """The delimiter that leaves the fewest parts which are not among these names; `;` where it is as good as another."""
    known, distinct = set(names), set(cells)

    def unknown(delimiter: str) -> int:
        return sum(part not in known for cell in distinct for part in split_names(cell, delimiter))

    return min(_DELIMITERS, key=unknown)


def quoted(delimiter: str) -> str:
    """A delimiter as notes show it."""
    return "line feeds" if delimiter == "\n" else f'"{delimiter}"'


def split_names(cell: str, delimiter: str = SEMICOLON) -> list[str]:
    """`a; b` to ["a", "b"], and so with a delimiter in front of the first name or behind the last, `;a;b;`."""
    parts = [part.strip() for part in cell.split(delimiter)] if cell else []
    first, last = len(parts) > 1 and not parts[0], len(parts) > 1 and not parts[-1]
    return parts[first : len(parts) - last]


def _are_unordered(lists: Sequence[list[str]], combined: set[str]) -> bool:
    """Whether parts are names in any order.

    No numbers (4/5), one of them alone somewhere, more than one combination (yes/no), and no en/fr beside fr/en.
    """
    sets = {frozenset(parts) for parts in lists}
    alone = any(len(parts) == 1 and parts[0] in combined for parts in lists)
    several = sum(len(parts) > 1 for parts in sets) > 1
    return (
        alone
        and several
        and len(sets) == len({tuple(parts) for parts in lists})
        and not any(map(str.isdigit, combined))
    )


def _recombine(cells: Collection[str], delimiter: str) -> bool:
    lists = [split_names(cell.casefold(), delimiter) for cell in cells]
    seen_in = Counter(part for parts in lists for part in set(parts))
    combined = {part for parts in lists if len(parts) > 1 for part in parts}
    recurring = [part for part in combined if seen_in[part] > 1]
    if "" in combined or len(recurring) < 2 or 2 * len(recurring) < len(combined):
        return False
    if delimiter == SEMICOLON:
        return True
    if delimiter not in _CLEAR and not _are_unordered(lists, combined):
        return False
    behind = {part for parts in lists for part in parts[1:]}
    in_front = {parts[0] for parts in lists}
    return len(behind & in_front) >= _MOBILE * len(behind)
