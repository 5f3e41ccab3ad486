"""Tokens merged into words, with their characters and attributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_NO_SPACES = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3040, 0x30FF),
    (0x3400, 0x9FFF),
    (0xF900, 0xFAFF),
)


class Token(NamedTuple):
    """A word or punctuation mark, with its position.

    start, end: characters of the text (part 0) or of its pair (part 1).
    """

    text: str
    start: int
    end: int
    part: int = 0


def merge_into_words(
    text: str, pair: str | None, row: Mapping[str, Any], parts: Sequence[int | None], shares: Sequence[float]
) -> tuple[list[Token], list[float]]:
    """Words with the sums of their tokens' shares, in order.

    Special tokens, which have no share, are left out. Every other share is counted: that of blanks, and of tokens without
    characters, goes to the word after them, at the end to the one before.

    row: a fast tokenizer's encoding of text and pair with special_tokens_mask and offset_mapping; parts: the text of each
    token, 0 or 1 (None: special); shares: one a token.
    """
    texts = (text, pair or "")
    words: list[Token] = []
    sums: list[float] = []
    blanks: list[Token] = []
    waiting, last = 0.0, 0
    spans = zip(row["special_tokens_mask"], parts, row["offset_mapping"], shares, strict=True)
    for special, part, (start, end), share in spans:
        if special or part is None:
            continue
        if part != last and sums:
            sums[-1], waiting = sums[-1] + waiting, 0.0
        last = part
        raw = texts[part][start:end]
        waiting += share
        if not raw.strip():
            blanks.append(Token(raw, start, end, part))
            continue
        start, end = end - len(raw.lstrip()), start + len(raw.rstrip())
        if words and words[-1].part == part and _joined(texts[part], words[-1], start):
            start, end = words[-1].start, max(end, words[-1].end)
            words[-1] = Token(texts[part][start:end], start, end, part)
            sums[-1] += waiting
        else:
            words.append(Token(texts[part][start:end], start, end, part))
            sums.append(waiting)
        waiting = 0.0
    if not words and blanks:
        return blanks[:1], [waiting]
    if words:
        sums[-1] += waiting
    return words, sums


def _joined(text: str, last: Token, begin: int) -> bool:
    """Whether a token continues the last word.

    It does if it shares a character with it, or if both are letters with nothing between.
    """
    if begin < last.end:
        return True
    return begin == last.end and _in_word(text[begin - 1]) and _in_word(text[begin])


def _in_word(character: str) -> bool:
    """Whether a character is a letter or digit of a script with spaces."""
    code = ord(character)
    return (character.isalnum() or character == "_") and not any(low <= code <= high for low, high in _NO_SPACES)
