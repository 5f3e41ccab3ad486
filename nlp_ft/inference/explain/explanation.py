"""Explanations of predictions, as an HTML page or lines for a terminal.

Colour is always accompanied by a sign.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from nlp_ft.evaluation.report.html import html_page, render
from nlp_ft.inference.explain.word_spans import Token

_FOR, _AGAINST = (86, 160, 230), (240, 145, 40)  # blue and orange, distinct for every kind of colour vision
_MIN_STRENGTH = 0.1  # fraction of the greatest share; smaller shares are not marked
_STYLE = (
    "main p{white-space:pre-wrap;line-height:1.9}mark{color:#111;border-radius:3px;padding:1px 2px}"
    "sup{font-weight:bold}small{color:var(--quiet)}\n"
)


def page(explanations: Sequence[Explanation]) -> str:
    """Render one HTML page for all explanations.

    Words are on blue (for) or orange (against) with a sign, and their share as a title.
    """
    sections = [
        (_title(explanation), _note(explanation), [list(_words(explanation, part)) for part in _parts(explanation)])
        for explanation in explanations
    ]
    return html_page("Explanations", render("inference/explain/page.html.j2", sections=sections), style=_STYLE)


def _words(explanation: Explanation, part: int) -> Iterator[tuple[str, str | None, str | None, str | None]]:
    """(piece, title, background, sign) of a text.

    No title between words, no background where the share is small.
    """
    for piece, share, strength in _pieces(explanation, part):
        hint = None if share is None else f"{share:+.4f} {_scope(explanation)}"
        if not strength:
            yield piece, hint, None, None
            continue
        red, green, blue = (round(255 - (255 - c) * abs(strength) * 0.8) for c in (_FOR if strength > 0 else _AGAINST))
        yield piece, hint, f"#{red:02x}{green:02x}{blue:02x}", "+" if strength > 0 else "\N{MINUS SIGN}"


def _parts(explanation: Explanation) -> range:
    return range(1 if explanation.pair is None else 2)


def terminal(explanation: Explanation, colour: bool) -> str:
    """Title, text and note as lines for a terminal.

    Words are coloured, or have up to three signs before them; control characters are escaped.
    """
    lines = [_visible(_title(explanation))]
    for part in _parts(explanation):
        pieces = []
        for piece, _, strength in _pieces(explanation, part):
            signs = ("+" if strength > 0 else "-") * (1 + (abs(strength) > 0.4) + (abs(strength) > 0.7))
            word = _visible(piece)
            if not strength:
                pieces.append(word)
            elif colour:
                code = "1;97;44" if strength > 0 else "1;30;43"  # white on blue, black on yellow
                pieces.append(f"\x1b[{code if abs(strength) > 0.4 else code[2:]}m{signs[0]}{word}\x1b[0m")
            else:
                pieces.append(signs + word)
        lines.append("".join(pieces))
    return "\n".join([*lines, _visible(_note(explanation))])


def _pieces(explanation: Explanation, part: int) -> Iterator[tuple[str, float | None, float]]:
    """The whole text in pieces: (text, share, strength).

    strength: the share over the greatest, 0 where it is small. Between words the share is None.
    """
    text = explanation.text if part == 0 else explanation.pair or ""
    greatest = max(map(abs, explanation.attributions), default=0.0)
    end = 0
    for token, share in zip(explanation.tokens, explanation.attributions, strict=True):
        if token.part != part:
            continue
        if token.start > end:
            yield text[end : token.start], None, 0.0
        strength = share / greatest if greatest > 0 else 0.0
        yield token.text, share, strength if abs(strength) >= _MIN_STRENGTH else 0.0
        end = token.end
    if end < len(text):
        yield text[end:], None, 0.0


def _scope(explanation: Explanation) -> str:
    return "of the number" if explanation.target is None else f"for {explanation.target}"


def _title(explanation: Explanation) -> str:
    return (
        f"{explanation.score:.4f}" if explanation.target is None else f"{explanation.target} ({explanation.score:.3f})"
    )


def _note(explanation: Explanation) -> str:
    cut = f" {explanation.cut} tokens at its end were not read." if explanation.cut else ""
    return (
        f"+ speaks {_scope(explanation)}, - against it; the words make {explanation.value - explanation.baseline:+.3f}, "
        "completeness error "
        f"{explanation.completeness_error:.2g} ({explanation.relative_error:.1%}).{cut}"
    )


def _visible(text: str) -> str:
    """Escape the characters that would control a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


@dataclass(frozen=True)
class Explanation:
    """Attribution of one prediction to the words of its text.

    Attributes:
        text: the text.
        pair: the second text of a pair.
        target: the label explained; None for a regression.
        score: its probability, or the number of a regression.
        tokens: words with their positions: `text[start:end]` of the text (part 0) or the pair (part 1).
        attributions: what each token adds to the log-odds of the target (or to the number); below 0: evidence against.
        value: the log-odds, or the number.
        baseline: the same without any word.
        completeness_error: |sum of attributions - (value - baseline)|; more steps make it smaller.
        relative_error: the same as a share of |value - baseline|.
        cut: tokens at the end that the model did not read, and that are not explained.
    """

    text: str
    pair: str | None
    target: str | None
    score: float
    tokens: tuple[Token, ...]
    attributions: tuple[float, ...]
    value: float
    baseline: float
    completeness_error: float
    relative_error: float
    cut: int = 0

    def to_dict(self) -> dict[str, object]:
        """Convert to a dictionary for JSON.

        A token is {"text", "start", "end", "part", "attribution"}.
        """
        fields = asdict(self)
        attributions = zip(self.tokens, fields.pop("attributions"), strict=True)
        return {**fields, "tokens": [token._asdict() | {"attribution": share} for token, share in attributions]}

    def to_html(self) -> str:
        """Render as a standalone HTML page.

        Blue words speak for the target, orange ones against, each with its sign and its share as a title.
        """
        return page([self])

    def to_terminal(self, colour: bool = False) -> str:
        """Render as lines for a terminal.

        Blue and orange; without colour, up to three + or - before a word.
        """
        return terminal(self, colour)
