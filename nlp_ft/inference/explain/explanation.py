"""Explanations to be looked at: a page that needs nothing else, and lines for a terminal. Colour never stands alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nlp_ft.evaluation.report.html import html_page, render
from nlp_ft.inference.explain.word_spans import Token

_FOR, _AGAINST = (86, 160, 230), (240, 145, 40)  # blue and orange, which every kind of colour vision tells apart
_FAINT = 0.1  # of the greatest share; less is not marked
_STYLE = (
    "main p{white-space:pre-wrap;line-height:1.9}mark{color:#111;border-radius:3px;padding:1px 2px}"
    "sup{font-weight:bold}small{color:var(--quiet)}\n"
)


def page(explanations: Sequence[Explanation]) -> str:
    """One HTML page for all of them: words on blue (for) or orange (against) with a sign, and their share as a title."""
    sections = [
        (_title(explanation), _note(explanation), [list(_words(explanation, part)) for part in _parts(explanation)])
        for explanation in explanations
    ]
    return html_page("Explanations", render("inference/explain/page.html.j2", sections=sections), style=_STYLE)


def _words(explanation: Explanation, part: int) -> Iterator[tuple[str, str | None, str | None, str | None]]:
    """(piece, its share in words, background, sign) of a text; no share between words, no background where it is faint."""
    for piece, share, strength in _pieces(explanation, part):
        hint = None if share is None else f"{share:+.4f} {_said(explanation)}"
        if not strength:
            yield piece, hint, None, None
            continue
        red, green, blue = (round(255 - (255 - c) * abs(strength) * 0.8) for c in (_FOR if strength > 0 else _AGAINST))
        yield piece, hint, f"#{red:02x}{green:02x}{blue:02x}", "+" if strength > 0 else "\N{MINUS SIGN}"


def _parts(explanation: Explanation) -> range:
    return range(1 if explanation.pair is None else 2)


def terminal(one: Explanation, colour: bool) -> str:
    """Title, text and note; words are coloured, or have up to three signs before them; control characters are spelt out."""
    lines = [_visible(_title(one))]
    for part in _parts(one):
        found = []
        for piece, _, strength in _pieces(one, part):
            signs = ("+" if strength > 0 else "-") * (1 + (abs(strength) > 0.4) + (abs(strength) > 0.7))
            word = _visible(piece)
            if not strength:
                found.append(word)
            elif colour:
                code = "1;97;44" if strength > 0 else "1;30;43"  # white on blue, black on yellow
                found.append(f"\x1b[{code if abs(strength) > 0.4 else code[2:]}m{signs[0]}{word}\x1b[0m")
            else:
                found.append(signs + word)
        lines.append("".join(found))
    return "\n".join([*lines, _visible(_note(one))])


def _pieces(one: Explanation, part: int) -> Iterator[tuple[str, float | None, float]]:
    """The whole text in pieces: a word, its share, and that over the greatest (0 where faint); None: between words."""
    text = one.text if part == 0 else one.pair or ""
    greatest = max(map(abs, one.attributions), default=0.0)
    done = 0
    for token, share in zip(one.tokens, one.attributions, strict=True):
        if token.part != part:
            continue
        if token.start > done:
            yield text[done : token.start], None, 0.0
        strength = share / greatest if greatest > 0 else 0.0
        yield token.text, share, strength if abs(strength) >= _FAINT else 0.0
        done = token.end
    if done < len(text):
        yield text[done:], None, 0.0


def _said(one: Explanation) -> str:
    return "of the number" if one.target is None else f"for {one.target}"


def _title(one: Explanation) -> str:
    return f"{one.score:.4f}" if one.target is None else f"{one.target} ({one.score:.3f})"


def _note(one: Explanation) -> str:
    cut = f" {one.cut} tokens at its end were not read." if one.cut else ""
    return (
        f"+ speaks {_said(one)}, - against it; the words make {one.value - one.baseline:+.3f}, completeness error "
        f"{one.completeness_error:.2g} ({one.relative_error:.1%}).{cut}"
    )


def _visible(text: str) -> str:
    """Without the characters that would steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


@dataclass(frozen=True)
class Explanation:
    """What one text's words speak for.

    Attributes:
        text: the text.
        pair: the second text of a pair.
        target: the label explained; None for a regression.
        score: its probability, or the number of a regression.
        tokens: words with their places: `text[start:end]` of the text (part 0) or the pair (part 1).
        attributions: what each token adds to the log-odds of the target (or to the number); less than 0: it speaks against.
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

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; a token is {"text", "start", "end", "part", "attribution"}."""
        found = asdict(self)
        shares = zip(self.tokens, found.pop("attributions"), strict=True)
        return found | {"tokens": [token._asdict() | {"attribution": share} for token, share in shares]}

    def to_html(self) -> str:
        """A page of its own: blue words speak for the target, orange ones against, each with its sign and share as a title."""
        return page([self])

    def to_terminal(self, colour: bool = False) -> str:
        """Lines for a terminal: blue and orange; without colour, up to three + or - before a word."""
        return terminal(self, colour)
