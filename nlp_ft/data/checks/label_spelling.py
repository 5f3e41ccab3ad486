"""Classes that differ in spelling alone.

In case, spaces, punctuation or Unicode form.
"""

from __future__ import annotations

from nlp_ft.data.checks.duplicate_keys import example
from nlp_ft.data.checks.finding import Checked, Finding, Label
from nlp_ft.data.schema.label_spelling import spelling_groups
from nlp_ft.evaluation.probabilities import REGRESSION

_EXAMPLES = 2  # of each class


def spelling(checked: Checked) -> list[Finding]:
    """Find groups of classes that are likely one class, spelled in several ways.

    Returns: a finding for each group and split.
    """
    if checked.problem_type == REGRESSION:
        return []
    findings = []
    for group in spelling_groups(checked.labels):
        numbers = [checked.labels.index(name) for name in group]
        for name in checked.splits:
            findings += _finding(checked, name, group, numbers)
    return findings


def _finding(checked: Checked, name: str, group: list[str], numbers: list[int]) -> list[Finding]:
    split = checked.splits[name]
    rows = {
        number: [row for row, label in enumerate(split.labels) if _has(checked, label, number)] for number in numbers
    }
    every = sorted({row for of_class in rows.values() for row in of_class})
    if not every:
        return []
    counts = ", ".join(f"'{label}' {len(rows[number])}" for label, number in zip(group, numbers, strict=True))
    return [
        Finding(
            "label_spelling",
            "warning",
            name,
            len(every),
            len(split),
            f"classes that differ in case, spaces, punctuation or Unicode form alone: rows of {counts}",
            "write them alike if they are one class; --merge_label_spellings takes them for one, here and in training",
            examples=[example(checked, split, row, "") for number in numbers for row in rows[number][:_EXAMPLES]],
            indices={name: every},
            measures={"classes": float(len(group))},
        )
    ]


def _has(checked: Checked, label: Label, number: int) -> bool:
    return checked.labels[number] in checked.class_names(label)
