"""Report of a data check, as one line and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import NotRequired, TypedDict

from nlp_ft.data import counted
from nlp_ft.data.checks.finding import Checked, Finding, Severity
from nlp_ft.data.checks.report.overview import SplitSummary, summarised, target_range
from nlp_ft.data.checks.report.wording import by_severity, in_short, remedy, severity_counts, tally
from nlp_ft.data.checks.report.wording import share as share_of
from nlp_ft.utils import Note

JSON_VERSION = 1
_IN_SUMMARY = 3  # findings that the one line names
_DATA_CHECK = "data check"  # the topic of the summary


class RowFacts(TypedDict):
    """A row in JSON; `score` where rows are ranked."""

    row: int
    where: str
    score: NotRequired[float | int | None]


class RewriteFacts(TypedDict):
    """A rewritten row in JSON."""

    row: int
    text: str


class FindingFacts(TypedDict):
    """A finding in JSON."""

    check: str
    severity: Severity
    split: str
    rows: int
    of: int
    share: float
    message: str
    advice: str
    remedy: str
    examples: list[dict[str, str]]
    places: dict[str, list[RowFacts]]
    places_left_out: dict[str, int]
    drop: dict[str, list[int]]
    rewrite: dict[str, list[RewriteFacts]]
    measures: dict[str, float | int | None]


class SplitFacts(TypedDict):
    """A split in JSON; `text_lengths`: number of texts by length in characters."""

    source: str
    rows: int
    classes: dict[str, int]
    targets: list[int]
    text_lengths: dict[str, int]


class ReportFacts(TypedDict):
    """A report in JSON."""

    version: int
    summary: str
    worst: Severity | None
    counts: dict[Severity, int]
    seconds: float
    problem_type: str
    looked_for: list[str]
    notes: list[str]
    splits: dict[str, SplitFacts]
    target_range: list[float] | None
    findings: list[FindingFacts]


@dataclass(frozen=True)
class CheckReport:
    """Findings, worst first, and a summary of the data.

    `target_range`: lowest and highest target, regression alone. `looked_for`: names of the checks that ran. `notes`: remarks,
    such as on a sample that was taken or a check that was left out. `seconds`: duration of the checks.
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
        """Make a report; each column of the data is read once.

        `sources`: file or data set of each split.
        """
        span = target_range(checked)
        splits = {name: summarised(checked, split, sources[name], span) for name, split in checked.splits.items()}
        return cls(
            by_severity(findings), splits, checked.problem_type, span, list(looked_for), list(notes), round(seconds, 3)
        )

    @property
    def worst(self) -> Severity | None:
        """The worst severity of the findings: error, warning, note, or None."""
        return self.findings[0].severity if self.findings else None

    @property
    def rows(self) -> int:
        """Rows of all splits together."""
        return sum(split.rows for split in self.splits.values())

    def summary(self) -> Note:
        """One line for a log.

        `data check: 2 errors, 1 note: ...` names the first three errors and warnings.
        """
        serious = [finding for finding in self.findings if finding.severity != "note"]
        if not self.findings:
            return Note(f"data check: nothing found in {counted(self.rows, 'row')}", _DATA_CHECK)
        if not serious:
            text = f"data check: no errors or warnings in {counted(self.rows, 'row')}, {tally(self.findings)}"
            return Note(text, _DATA_CHECK)
        named = [in_short(finding) for finding in serious[:_IN_SUMMARY]]
        more = [f"and {len(serious) - _IN_SUMMARY} more"] if len(serious) > _IN_SUMMARY else []
        return Note(f"data check: {tally(self.findings)}: {'; '.join([*named, *more])}", _DATA_CHECK)

    def to_json(self, most_places: int | None = None) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(most_places), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def to_dict(self, most_places: int | None = None) -> ReportFacts:
        """The report in types of JSON; `version` changes when a key is renamed or goes.

        Row numbers count from 0; `where` is the location in the file. `most_places`: rows listed for a finding and split
        (all if None); `places_left_out` is the number of the others. A number that is not finite is null.
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
            "target_range": list(self.target_range) if self.target_range else None,
            "findings": [self._finding_facts(finding, most_places) for finding in self.findings],
        }

    def _finding_facts(self, finding: Finding, most_places: int | None) -> FindingFacts:
        listed = {split: self._listed(finding, split, rows[:most_places]) for split, rows in finding.indices.items()}
        left_out = {split: len(rows) - len(listed[split]) for split, rows in finding.indices.items()}
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
            "places": listed,
            "places_left_out": {split: count for split, count in left_out.items() if count},
            "drop": {split: [int(row) for row in rows] for split, rows in finding.drop.items()},
            "rewrite": {
                split: [{"row": int(row), "text": text} for row, text in texts.items()]
                for split, texts in finding.rewrite.items()
            },
            "measures": {name: _number(value) for name, value in finding.measures.items()},
        }

    def _listed(self, finding: Finding, split: str, rows: Sequence[int]) -> list[RowFacts]:
        """Number, location and, where rows are ranked, score of each row."""
        where = self.splits[split].where
        listed: list[RowFacts] = [{"row": int(row), "where": where(row)} for row in rows]
        for facts, score in zip(listed, finding.scores.get(split, []), strict=False):
            facts["score"] = _number(score)
        return listed


def _number(value: float) -> float | int | None:
    """A number in a type of JSON, whatever its numpy type; None if it is not finite."""
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if isinstance(value, int) else number


def _split_facts(split: SplitSummary) -> SplitFacts:
    lengths = {str(length): count for length, count in sorted(split.lengths.items())}
    return {
        "source": split.source,
        "rows": split.rows,
        "classes": split.classes,
        "targets": split.targets,
        "text_lengths": lengths,
    }
