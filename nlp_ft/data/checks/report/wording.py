"""Wording of a finding in every form of the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import get_args

from nlp_ft.data import counted
from nlp_ft.data.checks.finding import Finding, Severity
from nlp_ft.evaluation.report.text import percent, visible

SEVERITIES: tuple[Severity, ...] = get_args(Severity)


def severity_counts(findings: Iterable[Finding]) -> dict[Severity, int]:
    """Number of findings of each severity, the worst first."""
    counts = Counter(finding.severity for finding in findings)
    return {severity: counts[severity] for severity in SEVERITIES}


def tally(findings: Iterable[Finding]) -> str:
    """`2 errors, 1 note`; `nothing` if there is none."""
    counts = severity_counts(findings)
    return ", ".join(counted(count, severity) for severity, count in counts.items() if count) or "nothing"


def title(finding: Finding) -> str:
    """Heading of a finding: `near leak (train/test)`."""
    return f"{finding.check.replace('_', ' ')} ({finding.split})"


def share(finding: Finding) -> float:
    """The share of the rows that a finding concerns, from 0 to 1."""
    return finding.rows / finding.of if finding.of else 0.0


def extent(finding: Finding) -> str:
    """`12 of 8496 rows of train (0.1%)`; empty if no row is concerned."""
    if not finding.rows:
        return ""
    split = finding.split.partition("/")[0]
    return f"{finding.rows} of {counted(finding.of, 'row')} of {split} ({percent(share(finding))})"


def in_short(finding: Finding) -> str:
    """A finding on one line.

    `exact duplicates (train): 3 rows, the text of an earlier row`. A message that begins with a number gets no other.
    """
    message = visible(finding.message).rstrip(".")
    if finding.rows and not message[:1].isdigit():
        message = f"{counted(finding.rows, 'row')}, {message}"
    return f"{title(finding)}: {message}"


def remedy(finding: Finding) -> str:
    """Effect of --fix for a finding.

    `drops 3 rows of train, rewrites 1 row of test`.
    """
    parts = [f"drops {counted(len(rows), 'row')} of {split}" for split, rows in finding.drop.items() if rows]
    parts += [f"rewrites {counted(len(rows), 'row')} of {split}" for split, rows in finding.rewrite.items() if rows]
    return ", ".join(parts) or "changes nothing here"


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Sort findings, the worst first.

    Among equals those that concern the larger share of rows.
    """
    return sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), -share(finding)))
