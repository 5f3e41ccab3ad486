"""Blank, one-word and too long texts, and boilerplate that many texts share."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from nlp_ft.data.checks.duplicate_keys import example
from nlp_ft.data.checks.finding import MOST_EXAMPLES, Checked, Finding, Split
from nlp_ft.data.text import is_blank, split_by_words

CountTokens = Callable[[Sequence[str]], list[int]]
_SAMPLE = 20_000  # rows of a split whose tokens are counted
_AT_ONCE = 1000
_MANY_SHORT = 0.05  # of a split, from which one-word texts are a warning
_MANY_LONG = 0.1  # likewise texts that are cut
_SHARED_WORDS = 4  # that boilerplate has at least ...
_SHARED_UNITS = 12  # ... or letters, where a script puts no space between words
_SHARED_ROWS = 20  # and rows that share it, at least ...
_SHARED = 0.02  # ... and this share of them
_PURE = 0.95  # of rows with one boilerplate that have one label, from which it tells the label


def texts(checked: Checked, count_tokens: CountTokens | None = None, max_seq_length: int = 512) -> list[Finding]:
    """Find blank, one-word and too long texts, and beginnings or ends that many share.

    Too long: more than `max_seq_length` tokens.

    count_tokens: returns the number of tokens of each text; without it none is called too long. Of more than 20 000 rows a
    split, tokens of a seeded sample are counted.
    """
    findings = []
    for split in checked.splits.values():
        findings += _short(checked, split)
        if count_tokens is not None:
            findings += _long(checked, split, count_tokens, max_seq_length)
    return [*findings, *_boilerplate(checked, checked.splits["train"])]


def _short(checked: Checked, split: Split) -> list[Finding]:
    words = [_number_of_words(text) for text in split.texts]
    if split.pairs is not None:
        words = [2 if count and not is_blank(pair) else 0 for count, pair in zip(words, split.pairs, strict=True)]
    blank = [row for row, count in enumerate(words) if count == 0]
    single = [row for row, count in enumerate(words) if count == 1]
    findings = []
    if blank:
        findings.append(
            Finding(
                "blank_texts",
                "warning",
                split.name,
                len(blank),
                len(split),
                "a text without a single visible character"
                + (", or a pair with one" if split.pairs is not None else ""),
                "leave such rows out: their label can only be guessed",
                examples=[example(checked, split, row, "") for row in blank[:MOST_EXAMPLES]],
                indices={split.name: blank},
                drop={split.name: blank},
            )
        )
    if single and len(single) >= 0.01 * len(split):
        findings.append(
            Finding(
                "one_word_texts",
                "warning" if len(single) >= _MANY_SHORT * len(split) else "note",
                split.name,
                len(single),
                len(split),
                "a text of one word",
                "see whether the texts were cut, or another column holds them",
                examples=[example(checked, split, row, "") for row in single[:MOST_EXAMPLES]],
                indices={split.name: single},
            )
        )
    return findings


def _number_of_words(text: str) -> int:
    """Number of words in any script: 0 for a blank text, at least 1 for any other."""
    return 0 if is_blank(text) else max(1, len(split_by_words(text)))


def _long(checked: Checked, split: Split, count_tokens: CountTokens, limit: int) -> list[Finding]:
    rows = list(range(len(split)))
    if len(rows) > _SAMPLE:
        rows = sorted(random.Random(0).sample(rows, _SAMPLE))
    tokens: list[int] = []
    for part in _parts(rows):
        counts = count_tokens([split.texts[row] for row in part])
        if split.pairs is not None:
            counts = [a + b for a, b in zip(counts, count_tokens([split.pairs[row] for row in part]), strict=True)]
        tokens += counts
    long = [row for row, count in zip(rows, tokens, strict=True) if count > limit]
    if not long:
        return []
    share = len(long) / len(rows)
    sampled = f" (of a sample of {len(rows)} rows)" if len(rows) < len(split) else ""
    return [
        Finding(
            "long_texts",
            "warning" if share >= _MANY_LONG else "note",
            split.name,
            len(long),
            len(rows),
            f"a text longer than {limit} tokens, which is cut there{sampled}; the longest has {max(tokens)}",
            "raise --max_seq_length if the checkpoint holds more, or put what matters first",
            examples=[example(checked, split, row, "") for row in long[:MOST_EXAMPLES]],
            indices={split.name: long},
            measures={"share": share, "longest": float(max(tokens))},
        )
    ]


def _parts(rows: list[int]) -> Iterator[list[int]]:
    left = iter(rows)
    while part := list(islice(left, _AT_ONCE)):
        yield part


def _boilerplate(checked: Checked, train: Split) -> list[Finding]:
    """Find beginnings and ends of four words or more that many texts of train share."""
    starts: dict[tuple[str, ...], list[int]] = defaultdict(list)
    ends: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, text in enumerate(train.texts):
        plain = text.lower()
        words = split_by_words(plain)
        spaced = len(words) <= len(plain.split())
        shared = _SHARED_WORDS if spaced else _SHARED_UNITS
        if len(words) > shared:
            starts[tuple(words[:shared])].append(row)
            ends[tuple(words[-shared:])].append(row)
    enough = max(_SHARED_ROWS, _SHARED * len(train))
    findings = []
    for side, groups in (("begin", starts), ("end", ends)):
        for words, rows in groups.items():
            if len(rows) >= enough:
                findings.append(_shared(checked, train, side, words, rows))
    return findings[:MOST_EXAMPLES]


def _shared(checked: Checked, train: Split, side: str, words: tuple[str, ...], rows: list[int]) -> Finding:
    labels = Counter(checked.label_name(train.labels[row]) for row in rows)
    label, count = labels.most_common(1)[0]
    everywhere = Counter(checked.label_name(label) for label in train.labels)[label] / len(train)
    tells = checked.problem_type != "regression" and count / len(rows) >= _PURE and everywhere < _PURE - 0.2
    mostly = f", {count / len(rows):.0%} of them '{label}'" if tells else ""
    return Finding(
        "boilerplate",
        "warning" if tells else "note",
        "train",
        len(rows),
        len(train),
        f'texts that {side} with "{(" " if len(words) == _SHARED_WORDS else "").join(words)}"{mostly}',
        "take it out of the texts: the model will learn it in place of what they say"
        if tells
        else "take it out if it says nothing; it costs tokens in every text",
        examples=[example(checked, train, row, "") for row in rows[:3]],
        indices={"train": rows},
    )
