"""Report as one HTML page.

Charts are inside the page; it has no script and fetches nothing. Everything from the data is escaped.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from nlp_ft.data.checks.report.figures import data_figures, score_figure
from nlp_ft.data.checks.report.wording import extent, remedy, severity_counts, tally, title
from nlp_ft.evaluation.report.html import html_page, render

if TYPE_CHECKING:
    from nlp_ft.data.checks.report.check_report import CheckReport


def page(report: CheckReport) -> str:
    """The page of a report; findings are grouped by severity, the worst first."""
    heading = f"Data check: {tally(report.findings)}"
    numbered = [
        (finding, score_figure(f"finding-{number}", finding)) for number, finding in enumerate(report.findings, start=1)
    ]
    sections = groupby(numbered, key=lambda article: article[0].severity)
    body = render(
        "data/checks/report/page.html.j2",
        heading=heading,
        report=report,
        severity_counts=severity_counts(report.findings),
        figures=data_figures(report),
        sections=[(severity, list(articles)) for severity, articles in sections],
        title=title,
        extent=extent,
        remedy=remedy,
    )
    return html_page(heading, body)
