"""Exact duplicates: repeated rows, texts with two labels, texts of two splits."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import cast

import numpy as np

from nlp_ft.data.checks.duplicate_keys import KeyedRows, example
from nlp_ft.data.checks.finding import MOST_EXAMPLES, Checked, Example, Finding, Label

_TOLERANCE = 0.1  # of the standard deviation of train's labels: targets of a regression that are nearer do not conflict

_Group = dict[str, list[int]]


def exact(checked: Checked) -> list[Finding]:
    """Find texts equal but for case and white space.

    Findings: `exact_duplicates`, `conflicting_labels` and `leak`. Blank texts are no duplicates. Rows of a split that share
    a text but not its label are a conflict, not duplicates.
    """
    groups = list(KeyedRows.of(checked).equal())
    tolerance = _label_tolerance(checked)
    repeats = [_repeats(checked, name, groups, tolerance) for name in checked.splits]
    return [
        *_conflicts(checked, groups, tolerance),
        *_leaks(checked, groups),
        *(finding for finding in repeats if finding),
    ]


def differ(labels: Sequence[Label], tolerance: float | None) -> bool:
    """Tell whether labels of a text conflict: by value, or by more than the tolerance."""
    if tolerance is not None:
        targets = cast("Sequence[float]", labels)
        return max(targets) - min(targets) > tolerance
    return len({_hashable(label) for label in labels}) > 1


def _label_tolerance(checked: Checked) -> float | None:
    if checked.problem_type != "regression":
        return None
    return _TOLERANCE * float(np.std(np.fromiter(checked.splits["train"].targets, float)))


def _hashable(label: Label) -> Hashable:
    return label if isinstance(label, Hashable) else tuple(label)


def _labels(checked: Checked, group: _Group) -> list[Label]:
    return [checked.splits[name].labels[row] for name, rows in group.items() for row in rows]


def _repeats(checked: Checked, name: str, groups: list[_Group], tolerance: float | None) -> Finding | None:
    split = checked.splits[name]
    copies: dict[int, int] = {}
    for group in groups:
        rows = group.get(name, [])
        if len(rows) > 1 and not differ([split.labels[row] for row in rows], tolerance):
            copies.update(dict.fromkeys(rows[1:], rows[0]))
    if not copies:
        return None
    indices = sorted(copies)
    return Finding(
        check="exact_duplicates",
        severity="warning",
        split=name,
        rows=len(indices),
        of=len(split),
        message="the text and label of an earlier row, equal but for case and white space",
        advice="keep the first of each; a text that counts twice weighs twice in training and in every metric.",
        examples=[example(checked, split, row, f"= {split.where(copies[row])}") for row in indices[:MOST_EXAMPLES]],
        indices={name: indices},
        drop={name: indices},
        measures={"texts": len(set(copies.values()))},
    )


def _conflicts(checked: Checked, groups: list[_Group], tolerance: float | None) -> list[Finding]:
    """Finding for all splits together; `rows` and `of` are those of its first split."""
    conflicts = [group for group in groups if differ(_labels(checked, group), tolerance)]
    if not conflicts:
        return []
    indices = {name: sorted(row for group in conflicts for row in group.get(name, [])) for name in checked.splits}
    indices = {name: rows for name, rows in indices.items() if rows}
    first = next(iter(indices))
    train = checked.splits["train"].labels
    inside = [group["train"] for group in conflicts if "train" in group]
    drop = sorted(row for rows in inside if differ([train[row] for row in rows], tolerance) for row in rows)
    finding = Finding(
        check="conflicting_labels",
        severity="error",
        split="/".join(indices),
        rows=len(indices[first]),
        of=len(checked.splits[first]),
        message=f"the same text with different labels ({_counted(indices)})",
        advice="decide which label is right; the table does not tell, so --fix drops every row of a conflict within train "
        "and leaves validation and test as they are.",
        examples=[_conflict_example(checked, group, tolerance) for group in conflicts[:MOST_EXAMPLES]],
        indices=indices,
        drop={"train": drop} if drop else {},
        measures={"texts": len(conflicts)},
    )
    return [finding]


def _counted(indices: dict[str, list[int]]) -> str:
    return ", ".join(f"{len(rows)} {'row' if len(rows) == 1 else 'rows'} of {name}" for name, rows in indices.items())


def _conflict_example(checked: Checked, group: _Group, tolerance: float | None) -> Example:
    """Two rows of different labels; of a regression, the lowest and the highest."""
    cells = [(checked.splits[name], row) for name, rows in group.items() for row in rows]
    if tolerance is not None:
        cells.sort(key=lambda cell: cell[0].targets[cell[1]])
        cells = [cells[0], cells[-1]]
    split, row = cells[0]
    label = split.labels[row]
    other, at = next(cell for cell in cells if differ([label, cell[0].labels[cell[1]]], tolerance))
    return example(checked, split, row, f"{checked.label_name(other.labels[at])} at {other.where(at)}")


def _leaks(checked: Checked, groups: list[_Group]) -> list[Finding]:
    pairs = (("train", "test"), ("train", "validation"), ("validation", "test"))
    leaks = (_leak(checked, earlier, later, groups) for earlier, later in pairs)
    return [finding for finding in leaks if finding]


def _leak(checked: Checked, earlier: str, later: str, groups: list[_Group]) -> Finding | None:
    """Find texts of the later split that are in the earlier split as well."""
    both = [group for group in groups if earlier in group and later in group]
    if not both:
        return None
    source, held_out = checked.splits[earlier], checked.splits[later]
    first = {row: group[earlier][0] for group in both for row in group[later]}
    rows = sorted(row for group in both for row in group[earlier])
    leaked = sorted(first)
    return Finding(
        check="leak",
        severity="error" if (earlier, later) == ("train", "test") else "warning",
        split=f"{earlier}/{later}",
        rows=len(rows),
        of=len(source),
        message=f"{len(leaked)} of {len(held_out)} texts of {later} ({len(leaked) / len(held_out):.1%}) are in {earlier} too",
        advice=f"take them out of {earlier}; figures on texts that the model was "
        f"{'trained' if earlier == 'train' else 'chosen'} on are too good.",
        examples=[example(checked, held_out, row, f"= {source.where(first[row])}") for row in leaked[:MOST_EXAMPLES]],
        indices={earlier: rows, later: leaked},
        drop={earlier: rows},
        measures={"texts": len(both), f"{later}_rows": len(leaked), f"{later}_share": len(leaked) / len(held_out)},
    )
