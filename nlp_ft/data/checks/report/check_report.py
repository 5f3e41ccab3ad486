"""`CheckReport`: what was checked and what was found, as one line and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from nlp_ft.data import counted
from nlp_ft.data.checks.finding import Checked, Finding, Severity
from nlp_ft.data.checks.report.overview import SplitSummary, summarised, target_range
from nlp_ft.data.checks.report.wording import by_severity, in_short, remedy, severity_counts, tally
from nlp_ft.data.checks.report.wording import share as share_of

JSON_VERSION = 1
_IN_SUMMARY = 3  # findings that the one line names


@dataclass(frozen=True)
class CheckReport:
    """Findings, worst first, beside the data they were found in.

    `target_range`: lowest and highest target, regression alone. `looked_for`: what was checked, each as a few words.
    `notes`: what else is to be said, such as a sample that was taken or a check that was left out. `seconds`: how long it took.
    """

    findings: list[Finding]
    splits: dict[str, SplitSummary]
    problem_type: str
    target_range: tuple[float, float] | None = None
    looked_for: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def of(
        cls,
        checked: Checked,
        findings: Iterable[Finding],
        *,
        sources: Mapping[str, str],
        looked_for: Iterable[str] = (),
        notes: Iterable[str] = (),
        seconds: float = 0.0,
    ) -> CheckReport:
        """Count the rows of what was checked, once through each column. `sources`: where each split comes from."""
        span = target_range(checked)
        splits = {name: summarised(checked, split, sources[name], span) for name, split in checked.splits.items()}
        return cls(
            by_severity(findings), splits, checked.problem_type, span, list(looked_for), list(notes), round(seconds, 3)
        )

    @property
    def worst(self) -> Severity | None:
        """The worst severity that was found: error, warning, note, or None."""
        return self.findings[0].severity if self.findings else None

    @property
    def rows(self) -> int:
        """Rows of all splits together."""
        return sum(split.rows for split in self.splits.values())

    def summary(self) -> str:
        """One line for a log: `data check: 2 errors, 1 note: ...`, which names the first three errors and warnings."""
        serious = [finding for finding in self.findings if finding.severity != "note"]
        if not self.findings:
            return f"data check: nothing found in {counted(self.rows, 'row')}"
        if not serious:
            return f"data check: no errors or warnings in {counted(self.rows, 'row')}, {tally(self.findings)}"
        said = [in_short(finding) for finding in serious[:_IN_SUMMARY]]
        more = [f"and {len(serious) - _IN_SUMMARY} more"] if len(serious) > _IN_SUMMARY else []
        return f"data check: {tally(self.findings)}: {'; '.join([*said, *more])}"

    def to_json(self, most_places: int | None = None) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(most_places), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def to_dict(self, most_places: int | None = None) -> dict[str, Any]:
        """All of it as JSON can hold it; `version` changes when a key is renamed or goes.

        Row numbers count from 0; `where` is the place in the file. `most_places`: places given for a finding and split
        (all where None); `places_left_out` says how many more there are. A number that is not finite is null.
        """
        return {
            "version": JSON_VERSION,
            "summary": self.summary(),
            "worst": self.worst,
            "counts": dict(severity_counts(self.findings)),
            "seconds": self.seconds,
            "problem_type": self.problem_type,
            "looked_for": self.looked_for,
            "notes": self.notes,
            "splits": {name: _split_facts(split) for name, split in self.splits.items()},
            "target_range": self.target_range and list(self.target_range),
            "findings": [self._finding_facts(finding, most_places) for finding in self.findings],
        }

    def _finding_facts(self, finding: Finding, most_places: int | None) -> dict[str, Any]:
        indices = {split: self._places(finding, split, rows[:most_places]) for split, rows in finding.indices.items()}
        left_out = {split: len(rows) - len(indices[split]) for split, rows in finding.indices.items()}
        return {
            "check": finding.check,
            "severity": finding.severity,
            "split": finding.split,
            "rows": int(finding.rows),
            "of": int(finding.of),
            "share": share_of(finding),
            "message": finding.message,
            "advice": finding.advice,
            "remedy": remedy(finding),
            "examples": [asdict(example) for example in finding.examples],
            "places": indices,
            "places_left_out": {split: count for split, count in left_out.items() if count},
            "drop": {split: [int(row) for row in rows] for split, rows in finding.drop.items()},
            "rewrite": {
                split: [{"row": int(row), "text": text} for row, text in texts.items()]
                for split, texts in finding.rewrite.items()
            },
            "measures": {name: _number(value) for name, value in finding.measures.items()},
        }

    def _places(self, finding: Finding, split: str, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Row number, place and, where rows are ranked, score."""
        where = self.splits[split].where
        indices: list[dict[str, Any]] = [{"row": int(row), "where": where(row)} for row in rows]
        for place, score in zip(indices, finding.scores.get(split, []), strict=False):
            place["score"] = _number(score)
        return indices


def _number(value: float) -> float | int | None:
    """A number as JSON can hold it, whatever numpy type it came in."""
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if isinstance(value, int) else number


def _split_facts(split: SplitSummary) -> dict[str, Any]:
    lengths = {str(length): count for length, count in sorted(split.lengths.items())}
    return {
        "source": split.source,
        "rows": split.rows,
        "classes": split.classes,
        "targets": split.targets,
        "text_lengths": lengths,
    }
