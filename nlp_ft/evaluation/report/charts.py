"""Charts as inline SVG: bars and histograms.

They take their colours from the page, and state in words what they show.

A chart is 400 units wide, so that its letters can still be read on a phone. Classes name what a colour stands for
(`train`, `error` ...); the page gives the colours. No chart tells anything by colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from nlp_ft.evaluation.report.text import fit, percent, visible

WIDTH = 400
_LINE = 17  # height of a line of text
_BAR = 12
_VALUE_ROOM = 150  # to the right of the longest bar, for its value
_PANEL = 74  # height of one histogram
_LETTERS = 56  # that fit the width


@dataclass(frozen=True)
class Bar:
    """One bar.

    Its length in any unit, its value in words, the class that gives its colour.
    """

    length: float
    value: str
    kind: str


@dataclass(frozen=True)
class Panel:
    """One histogram.

    Its heading, a count for each bin, the class that gives its colour.
    """

    heading: str
    counts: Sequence[int]
    kind: str


def bars(name: str, title: str, description: str, groups: Sequence[tuple[str, Sequence[Bar]]]) -> Markup:
    """Horizontal bars in groups, each group under its label.

    The longest bar is as long as there is room.

    `name`: an id that no other chart of the page has. Length 0 is drawn as no bar beside its value.
    """
    longest = max((bar.length for _, group in groups for bar in group), default=0) or 1
    body, y = [], 0
    for label, group in groups:
        y += _LINE
        body.append(_text(0, y - 4, fit(visible(label), _LETTERS), "label"))
        for bar in group:
            length = bar.length / longest * (WIDTH - _VALUE_ROOM)
            body.append(
                f'<rect class="{escape(bar.kind)}" x="0" y="{y}" width="{length:.1f}" height="{_BAR}" rx="2"/>'
                + _text(length + 5, y + _BAR - 2, bar.value, "value")
            )
            y += _BAR + 3
        y += 7
    return _svg(name, y, title, description, body)


def histogram(
    name: str, title: str, description: str, panels: Sequence[Panel], edges: Sequence[str], unit: str
) -> Markup:
    """Histograms one above the other over the same bins.

    Each is in shares of its rows.

    `edges`: the lower edge of each bin and the upper one of the last, as they are to be read; `unit`: what they measure.
    """
    bins = len(edges) - 1
    step = WIDTH / bins
    body, y = [], 0
    for panel in panels:
        rows, most = sum(panel.counts) or 1, max(panel.counts) or 1
        y += _LINE
        body.append(_text(0, y - 4, f"{visible(panel.heading)}; highest bar {percent(most / rows)}", "label"))
        for index, count in enumerate(panel.counts):
            height = count / most * (_PANEL - _LINE)
            hover = f"{edges[index]} to {edges[index + 1]}: {count} ({percent(count / rows)})"
            body.append(
                f'<rect class="{escape(panel.kind)}" x="{index * step + 0.5:.1f}" y="{y + _PANEL - _LINE - height:.1f}" '
                f'width="{step - 1:.1f}" height="{height:.1f}"><title>{escape(hover)}</title></rect>'
            )
        y += _PANEL - _LINE
        body.append(f'<line class="axis" x1="0" x2="{WIDTH}" y1="{y}" y2="{y}"/>')
        y += 6
    body += [_text(x, y + 9, edges[index], f"value {anchor}") for index, x, anchor in _ticks(bins)]
    return _svg(
        name, y + 14 + _LINE, title, description, [*body, _text(WIDTH / 2, y + 9 + _LINE, unit, "value middle")]
    )


def _ticks(bins: int) -> list[tuple[int, float, str]]:
    """(edge, x, anchor) of the edges that are named.

    They are at most six, the first and the last among them.
    """
    every = -(-bins // 5)
    indices = [*(index for index in range(0, bins, every) if bins - index > every / 2), bins]
    anchors = {0: "start", bins: "end"}
    return [(index, index * WIDTH / bins, anchors.get(index, "middle")) for index in indices]


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _svg(name: str, height: float, title: str, description: str, body: Sequence[str]) -> Markup:
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(visible(title))}</title>'
        f'<desc id="{name}-desc">{escape(visible(description))}</desc>{"".join(body)}</svg>'
    )
