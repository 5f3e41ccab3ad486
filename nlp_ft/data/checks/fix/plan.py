"""Plan of --fix.

The drops and rewrites of all findings put together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from nlp_ft.data.checks.finding import Checked, Finding, Split
from nlp_ft.errors import DataError

Changes = dict[str, dict[int, tuple[int, ...]]]  # split -> row -> numbers of the findings that ask for it


@dataclass(frozen=True)
class Plan:
    """Rows to drop and to rewrite, and the findings that ask for it.

    A row that several findings drop is dropped once, for all their reasons. A row that is dropped is not rewritten.
    Several rewrites of a row are carried out in the order of `findings`. `rows`: how many each split has. `notes`: warnings for
    the user.
    """

    findings: list[Finding]
    drops: Changes
    rewrites: Changes
    rows: dict[str, int]
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        """Number of rows that change."""
        return sum(map(len, [*self.drops.values(), *self.rewrites.values()]))


def plan(checked: Checked, findings: Sequence[Finding]) -> Plan:
    """Put together what the findings drop and rewrite.

    Raises: DataError if a split would be left without a row, ValueError if a finding names a row that does not exist.
    """
    drops: Changes = {name: {} for name in checked.splits}
    rewrites: Changes = {name: {} for name in checked.splits}
    for number, finding in enumerate(findings):
        for wanted, changes in ((finding.drop, drops), (finding.rewrite, rewrites)):
            for name, rows in wanted.items():
                _require_rows(checked, finding, name, rows)
                by_row = changes[name]
                by_row.update({row: (*by_row.get(row, ()), number) for row in dict.fromkeys(map(int, rows))})
    notes = []
    for name, split in checked.splits.items():
        if len(drops[name]) == len(split) > 0:
            raise DataError(
                f"--fix would leave no row of {name}; look at its findings first, and mend the file by hand."
            )
        rewrites[name] = {row: by for row, by in rewrites[name].items() if row not in drops[name]}
        notes += _lost_classes(checked, split, drops[name])
    return Plan(list(findings), drops, rewrites, {name: len(split) for name, split in checked.splits.items()}, notes)


def _require_rows(checked: Checked, finding: Finding, name: str, rows: Collection[int]) -> None:
    if name not in checked.splits:
        raise ValueError(f"{finding.check} changes rows of {name}, which was not checked.")
    if len(rows) and not 0 <= min(rows) <= max(rows) < len(checked.splits[name]):
        raise ValueError(f"{finding.check} changes row {max(rows)} of {name}, which has {len(checked.splits[name])}.")


def _lost_classes(checked: Checked, split: Split, drops: Collection[int]) -> list[str]:
    if not drops or checked.problem_type == "regression":
        return []
    before: Counter[int] = Counter()
    dropped: Counter[int] = Counter()
    for row, label in enumerate(split.labels):
        ids = [number for number, on in enumerate(label) if on] if isinstance(label, Sequence) else [int(label)]
        before.update(ids)
        if row in drops:
            dropped.update(ids)
    lost = [checked.labels[number] for number in sorted(before) if dropped[number] == before[number]]
    return [f"warning: --fix leaves no row of {split.name} with the label {', '.join(lost)}"] if lost else []
