"""Tables as aligned text, for a terminal or a report.

Those of `nlp_ft.evaluation.metrics` are among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from nlp_ft.evaluation.metrics import ClassScores, absent_note
from nlp_ft.evaluation.report.text import columns_of

_SHOWN = 20  # classes, or confused pairs, that a table holds
_NAMED_COLUMNS = 6  # up to here a confusion matrix names its columns; beyond, it numbers them


def format_table(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows of cells, the heads first, in columns two spaces apart.

    left: how many columns are aligned to the left; the others are aligned to the right. A wide character takes two columns.
    """
    widths = [max(map(columns_of, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(_padded(row, widths, left)) for row in rows)


def _padded(row: Sequence[str], widths: Sequence[int], left: int) -> Iterator[str]:
    for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
        padding = " " * (width - columns_of(cell))
        yield cell + padding if index < left else padding + cell


def format_per_class(table: Sequence[ClassScores]) -> str:
    """`metrics.per_class_table` as aligned text.

    Above 20 classes the 20 most frequent, and a line that says so; one more where classes have no row.
    """
    frequent = sorted(range(len(table)), key=lambda i: (-table[i]["support"], i))[:_SHOWN]
    rows = [
        [_short(row["label"]), *score_cells(row), str(row["support"])] for row in (table[i] for i in sorted(frequent))
    ]
    more = f"\n(the {_SHOWN} most frequent of {len(table)} classes)" if len(table) > _SHOWN else ""
    absent = absent_note([row["support"] for row in table], split="")
    heads = ["label", "precision", "recall", "f1", "support"]
    return format_table([heads, *rows]) + more + (f"\n{absent}" if absent else "")


def score_cells(row: ClassScores) -> list[str]:
    """Precision, recall and F1 of a class as text; a dash where it has no row."""
    return [f"{row[name]:.3f}" if row["support"] else "-" for name in ("precision", "recall", "f1")]


def format_confusion(matrix: Sequence[Sequence[int]], label_names: Sequence[str]) -> str:
    """`metrics.confusion_matrix` as aligned text.

    References stand down, predictions across.
    Above 6 classes the columns are numbered; above 20 the 20 most frequent confusions are listed instead.
    """
    names = [_short(name) for name in label_names]
    if len(names) > _SHOWN:
        cells = np.array(matrix)
        np.fill_diagonal(cells, 0)
        worst = [divmod(int(i), len(names)) for i in np.argsort(-cells, axis=None, kind="stable")[:_SHOWN]]
        pairs = [[names[r], names[p], str(cells[r, p])] for r, p in worst if cells[r, p]]
        return format_table([["reference", "predicted as", "rows"], *pairs]) + (
            f"\n(the most frequent confusions, at most {_SHOWN}, of {len(names)} classes)"
        )
    heads = names
    if len(names) > _NAMED_COLUMNS:
        heads = [str(i) for i in range(1, len(names) + 1)]
        names = [f"{i} {name}" for i, name in zip(heads, names, strict=True)]
    rows = [[name, *map(str, row)] for name, row in zip(names, matrix, strict=True)]
    return format_table([["reference \\ predicted", *heads], *rows])


def _short(name: str, width: int = 24) -> str:
    """A label on one line, cut to `width` characters."""
    name = " ".join(str(name).split())
    return name if len(name) <= width else name[: width - 1] + "…"
