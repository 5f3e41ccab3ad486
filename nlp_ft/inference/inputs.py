"""Texts as users pass them: lists, columns of any frame, pairs.

What is no text is refused, with its row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nlp_ft.errors import RowError, RowTypeError

Texts = Iterable[object]  # strings, or (text, pair) tuples; checked row by row


def texts_and_pairs(texts: Texts, wants_pairs: bool | None = None) -> tuple[list[str], list[str] | None]:
    """First and second texts of a list, tuple, iterator or column.

    Columns may be of NumPy, pandas, polars, Arrow or datasets. A pair is a tuple or list of two.

    wants_pairs: whether the model was trained on pairs; None: not known, and both are taken.

    Raises: TypeError for what is no sequence of texts, or not what the model reads, naming the row; DataError for a text that
    is not whole characters.
    """
    if isinstance(texts, str):
        raise TypeError("predict() takes a sequence of texts; for one text use predict([text])[0].")
    if texts is None or isinstance(texts, bytes | Mapping | set | frozenset) or hasattr(texts, "columns"):
        raise TypeError(f"predict() takes a sequence of texts, got {type(texts).__name__}.")
    rows = _as_list(texts)
    firsts: list[str] = []
    if rows and wants_pairs is not None:
        _require_kind(rows, wants_pairs)
    if not rows or not isinstance(rows[0], tuple | list):
        for i, row in enumerate(rows):
            if not isinstance(row, str):
                raise RowTypeError(i, f"wanted a str, got {type(row).__name__} {str(row)[:40]!r}.")
            _require_characters(i, row)
            firsts.append(row)
        return firsts, None
    seconds: list[str] = []
    for i, row in enumerate(rows):
        if isinstance(row, tuple | list) and len(row) == 1:
            raise RowTypeError(i, f"wanted a str, got {row!r:.40}; of an (n, 1) array or list pass the first column.")
        if not (isinstance(row, tuple | list) and len(row) == 2 and all(isinstance(text, str) for text in row)):
            raise RowTypeError(
                i, f"wanted a (text, pair) tuple like row 0, got {type(row).__name__} {str(row)[:40]!r}."
            )
        first, second = row
        for text in (first, second):
            _require_characters(i, text)
        firsts.append(first)
        seconds.append(second)
    return firsts, seconds


def _require_kind(rows: list[object], wants_pairs: bool) -> None:
    """Refuse single texts for a model of pairs, and the reverse.

    The first row is looked at; the others must be like it. Raises: TypeError.
    """
    row = rows[0]
    if wants_pairs and isinstance(row, str):
        hint = "; for one pair use predict([(text, pair)])[0]" if len(rows) == 2 else ""
        raise RowTypeError(
            0, f"this model was trained on pairs; wanted a (text, pair) tuple, got the text {row[:40]!r}{hint}."
        )
    if not wants_pairs and isinstance(row, tuple | list):
        hint = "; pass the first column: [row[0] for row in texts]" if len(row) == 1 else ""
        raise RowTypeError(
            0, f"this model was trained on single texts; wanted a str, got a {type(row).__name__} of {len(row)}{hint}."
        )


def _as_list(texts: Texts) -> list[object]:
    """Convert to a list of Python objects.

    NumPy and pandas have tolist, polars to_list, Arrow to_pylist.
    """
    for name in ("to_pylist", "to_list", "tolist"):
        convert = getattr(texts, name, None)
        if callable(convert):
            values = convert()
            if not isinstance(values, list):
                raise TypeError(f"predict() takes a sequence of texts, got a {type(texts).__name__} of one value.")
            return values
    return list(texts)


def _require_characters(row: int, text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowError(
            row,
            f"half of a character ({text[error.start]!a}, a lone surrogate) at index {error.start}, which no "
            'tokenizer reads; decode the bytes anew, or text.encode("utf-8", "replace").decode().',
        ) from None
