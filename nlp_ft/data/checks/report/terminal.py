"""Report as text for a terminal.

The data, then errors, warnings and notes, with examples and advice.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, TextIO

from nlp_ft.data import counted
from nlp_ft.data.checks.finding import Example, Finding
from nlp_ft.data.checks.report.overview import SplitSummary
from nlp_ft.data.checks.report.wording import extent, remedy, tally, title
from nlp_ft.evaluation.report.text import columns_of, fit, percent, visible

if TYPE_CHECKING:
    from nlp_ft.data.checks.report.check_report import CheckReport

_COLOURS = {"error": "31", "warning": "33", "note": "36", "bold": "1", "dim": "2"}
_NARROWEST = 40
_CLASSES_NAMED = 4
_EXAMPLE_LINES = 3


def show(report: CheckReport, limit: int = 3, stream: TextIO | None = None) -> None:
    """Print a report in the width of the terminal, at most 100 columns.

    In colour if the terminal has it. Characters that are not in the stream's encoding are printed as their escapes.
    """
    target = sys.stdout if stream is None else stream
    width = min(shutil.get_terminal_size().columns, 100)
    text = as_text(report, width, limit, has_colour(target))
    encoding = target.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=target, flush=True)


def has_colour(stream: TextIO) -> bool:
    """Whether a stream is a terminal that takes colours.

    False if the user refuses them by NO_COLOR or TERM=dumb.
    """
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def as_text(report: CheckReport, width: int = 80, limit: int = 3, colour: bool = False) -> str:
    """A report in lines of at most `width` columns, 40 at least.

    `limit`: of examples for each finding.
    """
    return "\n".join(_Page(max(width, _NARROWEST), limit, colour).lines(report))


class _Page:
    """Lines of a report, for a width, a number of examples and colour or none."""

    def __init__(self, width: int, limit: int, colour: bool) -> None:
        self.width, self.limit, self.colour = width, limit, colour

    def lines(self, report: CheckReport) -> Iterator[str]:
        yield from self.wrapped(f"Data check: {tally(report.findings)} in {counted(report.rows, 'row')}", paint="bold")
        yield ""
        yield from self.splits(report.splits)
        if report.notes:
            yield ""
        for note in report.notes:
            yield from self.wrapped(visible(note), "  ")
        for severity, findings in groupby(report.findings, key=lambda finding: finding.severity):
            group = list(findings)
            yield from ["", self.painted(counted(len(group), severity).upper(), severity)]
            for finding in group:
                yield from ["", *self.finding(finding)]
        yield ""
        if report.looked_for:
            yield from self.wrapped(f"Looked for: {', '.join(map(visible, report.looked_for))}.", paint="dim")
        yield from self.wrapped(f"Took {report.seconds:.1f} s.", paint="dim")

    def splits(self, splits: dict[str, SplitSummary]) -> Iterator[str]:
        names = max((len(name) for name in splits), default=0)
        rows = max((len(counted(split.rows, "row")) for split in splits.values()), default=0)
        for name, split in splits.items():
            head = f"  {name:<{names}}  {counted(split.rows, 'row'):>{rows}}  "
            yield from self.wrapped(f"{visible(split.source)}{_classes(split)}", head)

    def finding(self, finding: Finding) -> Iterator[str]:
        yield from self.wrapped(f"{title(finding)}: {visible(finding.message)}", "  ", paint=finding.severity)
        parts = [*filter(None, [extent(finding)]), *(["such as"] if finding.examples[: self.limit] else [])]
        if parts:
            yield from self.wrapped(", ".join(parts), "    ")
        for example in finding.examples[: self.limit]:
            yield from self.example(example)
        yield from self.wrapped(visible(finding.advice), "    do: ")
        yield from self.wrapped(remedy(finding), "    --fix: ")

    def example(self, example: Example) -> Iterator[str]:
        label = f"  [{fit(visible(example.label), 30)}]" if example.label else ""
        yield self.painted(fit(f"    {visible(example.where)}{label}", self.width), "dim")
        text = fit(visible(example.text), (self.width - 8) * _EXAMPLE_LINES)
        yield from self.wrapped(f'"{text}"', "      ")
        if example.note:
            yield from self.wrapped(visible(example.note), "      ", paint="dim")

    def wrapped(self, text: str, head: str = "", paint: str = "") -> Iterator[str]:
        """Lines of a paragraph that begins with `head`.

        The other lines are indented to the end of `head`, at most by a third of the width.
        """
        indent = " " * min(columns_of(head), self.width // 3)
        line, used = head, columns_of(head)
        for word in re.findall(r"\S+", text):
            for piece in _pieces(word, self.width - len(indent)):
                gap = 0 if line in (head, indent) else 1
                if used + gap + columns_of(piece) > self.width and line != indent:
                    yield self.painted(line.rstrip(), paint)
                    line, used, gap = indent, len(indent), 0
                line, used = line + " " * gap + piece, used + gap + columns_of(piece)
        yield self.painted(line.rstrip(), paint)

    def painted(self, line: str, paint: str) -> str:
        return f"\x1b[{_COLOURS[paint]}m{line}\x1b[0m" if self.colour and paint else line


def _pieces(word: str, columns: int) -> Iterator[str]:
    """Pieces of a word that fit a line."""
    while columns_of(word) > columns:
        piece = fit(word, columns).removesuffix("…")
        yield piece
        word = word[len(piece) :]
    yield word


def _classes(split: SplitSummary) -> str:
    """`: negative 54.0%, positive 46.0%`, the four most frequent."""
    if not split.classes or not split.rows:
        return ""
    frequent = sorted(split.classes.items(), key=lambda item: -item[1])[:_CLASSES_NAMED]
    more = len(split.classes) - len(frequent)
    named = [f"{fit(visible(name), 24)} {percent(count / split.rows)}" for name, count in frequent]
    return f": {', '.join([*named, *([f'{more} more'] if more else [])])}"
