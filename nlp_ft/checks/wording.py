"""How a finding is put into words, wherever it is shown, and how a text of the data is made safe to show."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import get_args

from nlp_ft.checks.findings import Finding, Severity
from nlp_ft.data import counted

SEVERITIES: tuple[Severity, ...] = get_args(Severity)

# What could move the cursor, turn the writing direction, or is no character: C0, C1, bidi controls, half surrogate pairs.
_SPACES = re.compile(r"[ \t\r\n\f\v]+")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def visible(text: str) -> str:
    r"""A text on one line, in which what could drive a terminal or break a page stands as its escape, like `\x1b`."""
    line = _SPACES.sub(" ", text).strip(" ")
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), line)


def percent(share: float) -> str:
    """`12.3%`; what is there but rounds to nothing is `<0.1%`."""
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes: two for a wide character, none for one that joins the one before."""
    return sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, columns: int) -> str:
    """A text cut to so many columns, with an ellipsis where it was longer."""
    if columns_of(text) <= columns:
        return text
    kept, room = [], columns - 1
    for character in text:
        room -= _columns_of(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept).rstrip() + "…"


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
