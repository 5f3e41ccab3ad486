"""Explanations to be looked at: a page that needs nothing else, and lines for a terminal. Colour never stands alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from nlp_ft.inference.explain.word_spans import Token

_FOR, _AGAINST = (86, 160, 230), (240, 145, 40)  # blue and orange, which every kind of colour vision tells apart
_FAINT = 0.1  # of the greatest share; less is not marked
_STYLE = (
    "body{font:16px/1.9 system-ui,sans-serif;color:#111;background:#fff;max-width:50em;margin:2em auto;padding:0 1em}"
    "p{white-space:pre-wrap;overflow-wrap:anywhere}mark{color:#111;border-radius:3px;padding:1px 2px}"
    "sup{font-weight:bold}small{color:#444}"
)


def page(explanations: Sequence[Explanation]) -> str:
    """One HTML page for all of them: words on blue (for) or orange (against) with a sign, and their share as a title."""
    body = "\n".join(_section(one) for one in explanations)
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Explanations</title><style>{_STYLE}</style>'
        f"</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _section(one: Explanation) -> str:
    parts = [f'<p dir="auto">{_marked(one, part)}</p>' for part in range(1 if one.pair is None else 2)]
    legend = f"<small>{escape(_note(one))}</small>"
    return f"<section>\n<h2>{escape(_title(one))}</h2>\n" + "\n".join(parts) + f"\n{legend}\n</section>"


def _marked(one: Explanation, part: int) -> str:
    said = _said(one)
    found = []
    for piece, share, strength in _pieces(one, part):
        word = escape(piece)
        if share is None:
            found.append(word)
            continue
        title = escape(f"{share:+.4f} {said}", quote=True)
        if not strength:
            found.append(f'<span title="{title}">{word}</span>')
            continue
        red, green, blue = (round(255 - (255 - c) * abs(strength) * 0.8) for c in (_FOR if strength > 0 else _AGAINST))
        sign = "+" if strength > 0 else "\N{MINUS SIGN}"
        colour = f"#{red:02x}{green:02x}{blue:02x}"
        found.append(f'<mark style="background:{colour}" title="{title}">{word}<sup>{sign}</sup></mark>')
    return "".join(found)


def terminal(one: Explanation, colour: bool) -> str:
    """Title, text and note; words are coloured, or have up to three signs before them; control characters are spelt out."""
    lines = [_visible(_title(one))]
    for part in range(1 if one.pair is None else 2):
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
