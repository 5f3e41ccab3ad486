"""First lines that are rows: a file without a header would lose one to it."""

from __future__ import annotations

from collections.abc import Sequence

from nlp_ft.data.readers.table import Table
from nlp_ft.data.schema.label_candidates import LABEL_FLAG, are_flags, column_names
from nlp_ft.data.schema.label_numbers import is_number
from nlp_ft.data.text import shown, split_by_words
from nlp_ft.errors import DataError

TEXT_FLAG = "--text_column_names"
TEXT_NAMES = ("text", "sentence", "review", "content", "document", "comment", "tweet", "message", "body", "utterance")
_HEADER_WORDS = {
    *("answer", "column", "comments", "customer", "data", "description", "feedback", "field", "input", "name", "note"),
    *("notes", "opinion", "post", "query", "question", "response", "reviews", "sentences", "statement", "texts"),
    *("title", "user"),
}


def refuse_a_text_as_header(table: Table, name: str) -> None:
    """Refuse a first line that is a text: a file without a header would lose it.

    A name of several words, none of them usual in names of columns, counts as a text where it ends as a sentence does, or is
    half as long as the texts below it. Raises: DataError.
    """
    words = {word.lower() for word in split_by_words(name)}
    if table.lines is None or " " not in name.strip() or words & {*TEXT_NAMES, *_HEADER_WORDS}:
        return
    cells = table.columns[name]
    mean = sum(len(cell) for cell in cells if isinstance(cell, str)) / max(len(cells), 1)
    if name.rstrip().endswith((".", "!", "?")) or 2 * len(name) >= mean:
        names = ",".join(
            "text" if column == name else f"column{at}" for at, column in enumerate(table.columns, start=1)
        )
        raise DataError(
            f"{table.source}: the first line ({shown(name)}) looks like a text; if there is no header, name the columns, as in "
            f"--column_names {names}, and if it is one, the text column with {TEXT_FLAG}."
        )


def refuse_a_row_as_header(
    table: Table, candidates: Sequence[str], texts: Sequence[str | None], *, labelled: bool
) -> None:
    """Refuse a first line that is a row: a file without a header would lose it.

    That row's label then recurs below, or is a number. Raises: DataError.
    """
    numbers = [name for name in candidates if is_number(name)]
    if len(numbers) > 2 and all(are_flags(table.columns[name]) for name in numbers):
        return  # classes by number; in a row of 0 and 1 some would be equal
    recurring = [name for name in candidates if any(cell == name for cell in table.columns[name])]
    numbered = list(table.columns) == [str(at) for at in range(len(table.columns))]  # as pandas names them
    if table.lines is None or numbered or not labelled:
        numbers = []
    if not recurring and not numbers:
        return
    name = [*recurring, *numbers][0]
    why = f"{name!r} is {'also a label below it' if recurring else 'a number'}"
    kinds = dict.fromkeys((text for text in texts if text is not None), "text") | {name: "label"}
    names = ",".join(kinds.get(column, f"column{at}") for at, column in enumerate(table.columns, start=1))
    name_it = f"the label column with {LABEL_FLAG}" if labelled else f"the text column with {TEXT_FLAG}"
    raise DataError(
        f"{table.source}: the first line ({column_names(table)}) looks like a row: {why}; if there is no header, name the "
        f"columns, as in --column_names {names}, and if it is one, {name_it}."
    )
