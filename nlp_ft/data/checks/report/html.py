"""A report as one HTML page: style and charts inside it, no script, nothing fetched, everything from the data escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from nlp_ft.data.checks.finding import Example, Finding
from nlp_ft.data.checks.report.figures import Figure, data_figures, score_figure
from nlp_ft.data.checks.report.wording import extent, remedy, severity_counts, tally, title
from nlp_ft.evaluation.report.html import STYLE
from nlp_ft.evaluation.report.text import visible

if TYPE_CHECKING:
    from nlp_ft.data.checks.report.check_report import CheckReport


def page(report: CheckReport) -> str:
    """The whole page. Its policy forbids scripts, fonts, frames and requests, should anything ever slip through."""
    head = f"Data check: {tally(report.findings)}"
    figures = "".join(map(_figure, data_figures(report)))
    body = [
        f"<header><h1>{_safe(head)}</h1>{_tiles(report)}</header>",
        f'<section><h2>The data</h2>{_splits(report)}<div class="charts">{figures}</div></section>',
        *_findings(report),
        _colophon(report),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_safe(head)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _safe(text: str) -> str:
    return escape(visible(text))


def _tiles(report: CheckReport) -> str:
    tiles = "".join(
        f'<li class="{severity}"><b>{count}</b> {severity}{"" if count == 1 else "s"}</li>'
        for severity, count in severity_counts(report.findings).items()
    )
    return f'<ul class="tiles">{tiles}<li><b>{report.rows}</b> row{"" if report.rows == 1 else "s"}</li></ul>'


def _splits(report: CheckReport) -> str:
    rows = "".join(
        f'<tr><th scope="row">{_safe(name)}</th><td>{split.rows}</td><td class="long">{_safe(split.source)}</td></tr>'
        for name, split in report.splits.items()
    )
    return (
        '<table><thead><tr><th scope="col">split</th><th scope="col">rows</th><th scope="col">from</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _figure(figure: Figure) -> str:
    caption, chart = figure
    return f"<figure><figcaption>{_safe(caption)}</figcaption>{chart}</figure>"


def _findings(report: CheckReport) -> Iterable[str]:
    if not report.findings:
        yield "<section><h2>Nothing found</h2></section>"
    number = 0
    for severity, found in groupby(report.findings, key=lambda finding: finding.severity):
        articles = []
        for finding in found:
            number += 1
            articles.append(_article(finding, f"finding-{number}"))
        yield f"<section><h2>{severity.capitalize()}s</h2>{''.join(articles)}</section>"


def _article(finding: Finding, name: str) -> str:
    parts = [
        f'<h3><span class="badge {finding.severity}">{finding.severity}</span> {_safe(title(finding))}</h3>',
        f"<p>{_safe(finding.message)}</p>",
    ]
    if said := extent(finding):
        parts.append(f'<p class="quiet">{_safe(said)}</p>')
    parts.append(f"<p><b>Do:</b> {_safe(finding.advice)}<br><b>--fix:</b> {_safe(remedy(finding))}</p>")
    if figure := score_figure(name, finding):
        parts.append(_figure(figure))
    if finding.examples:
        parts.append(_examples(finding.examples))
    if finding.measures:
        facts = "".join(
            f"<dt>{_safe(key.replace('_', ' '))}</dt><dd>{value:.4g}</dd>" for key, value in finding.measures.items()
        )
        parts.append(f"<details><summary>Numbers</summary><dl>{facts}</dl></details>")
    return f"<article>{''.join(parts)}</article>"


def _examples(examples: Sequence[Example]) -> str:
    return (
        '<table class="examples"><thead><tr><th scope="col">place, label</th><th scope="col">text</th></tr></thead>'
        f"<tbody>{''.join(map(_example, examples))}</tbody></table>"
    )


def _example(one: Example) -> str:
    note = f'<br><span class="quiet">{_safe(one.note)}</span>' if one.note else ""
    return (
        f'<tr><td class="long"><code>{_safe(one.where)}</code><br>{_safe(one.label)}</td>'
        f'<td class="long" dir="auto">{_safe(one.text)}{note}</td></tr>'
    )


def _colophon(report: CheckReport) -> str:
    looked = f"<p>Looked for: {_safe(', '.join(report.looked_for))}.</p>" if report.looked_for else ""
    notes = f"<ul>{''.join(f'<li>{_safe(note)}</li>' for note in report.notes)}</ul>" if report.notes else ""
    return f"<footer>{looked}{notes}<p>Took {report.seconds:.1f} s.</p></footer>"
