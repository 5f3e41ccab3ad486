"""How a finding is put into words, wherever it is shown, and how a text of the data is made safe to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import get_args

from nlp_ft.data import counted
from nlp_ft.data.checks.finding import Finding, Severity
from nlp_ft.evaluation.report.text import percent, visible

SEVERITIES: tuple[Severity, ...] = get_args(Severity)


def severity_counts(findings: Iterable[Finding]) -> dict[Severity, int]:
    """How many findings there are of each severity, the worst first."""
    found = Counter(finding.severity for finding in findings)
    return {severity: found[severity] for severity in SEVERITIES}


def tally(findings: Iterable[Finding]) -> str:
    """`2 errors, 1 note`; `nothing` where there is none."""
    counts = severity_counts(findings)
    return ", ".join(counted(count, severity) for severity, count in counts.items() if count) or "nothing"


def title(finding: Finding) -> str:
    """`near leak (train/test)`."""
    return f"{finding.check.replace('_', ' ')} ({finding.split})"


def share(finding: Finding) -> float:
    """The share of the rows that a finding concerns, from 0 to 1."""
    return finding.rows / finding.of if finding.of else 0.0


def extent(finding: Finding) -> str:
    """`12 of 8496 rows of train (0.1%)`; nothing where no row is concerned."""
    if not finding.rows:
        return ""
    split = finding.split.partition("/")[0]
    return f"{finding.rows} of {counted(finding.of, 'row')} of {split} ({percent(share(finding))})"


def in_short(finding: Finding) -> str:
    """`exact duplicates (train): 3 rows, the text of an earlier row`; a message that begins with a number keeps its own."""
    said = visible(finding.message).rstrip(".")
    if finding.rows and not said[:1].isdigit():
        said = f"{counted(finding.rows, 'row')}, {said}"
    return f"{title(finding)}: {said}"


def remedy(finding: Finding) -> str:
    """What --fix does about a finding: `drops 3 rows of train, rewrites 1 row of test`."""
    parts = [f"drops {counted(len(rows), 'row')} of {split}" for split, rows in finding.drop.items() if rows]
    parts += [f"rewrites {counted(len(rows), 'row')} of {split}" for split, rows in finding.rewrite.items() if rows]
    return ", ".join(parts) or "changes nothing here"


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first; among equals those that concern the larger share of rows."""
    return sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), -share(finding)))
