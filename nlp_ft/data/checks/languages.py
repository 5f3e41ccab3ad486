"""Languages of the texts: foreign rows, splits or classes that differ."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import compress, count

from nlp_ft.data import counted
from nlp_ft.data.checks.finding import MOST_EXAMPLES, Checked, Example, Finding, Split
from nlp_ft.data.checks.language_id import language
from nlp_ft.data.text import cut
from nlp_ft.evaluation.report.text import percent

_SAMPLE = 20_000  # rows of a split that are read
_FEWEST, _LEAST_SHARE = 5, 0.01  # rows in other languages, and more than this share of those known
_DIFFERENCE = 0.1  # between shares of a language in two splits or two groups of classes
_FEWEST_COMPARED = 30  # rows of known language on each side of a comparison
_CERTAIN = 3.0  # standard errors that a difference must have besides, so that it is no accident


@dataclass
class _Mix:
    """Rows of a split by language: how many in all and by class, and which rows.

    `read`: how many rows were looked at. `texts`: the beginnings of a few texts of each language.
    """

    read: int
    all: Counter[str] = field(default_factory=Counter)
    by_class: dict[str, Counter[str]] = field(default_factory=dict)
    rows: dict[str, list[int]] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)


def languages(checked: Checked, seed: int = 42) -> list[Finding]:
    """Find rows whose first text is in another language than most of train.

    A note where these are more than 1 % and at least 5 of the rows whose language is known. A warning where a split
    differs from train, or a class from the other classes, by more than 10 points in the share of a language and by three
    standard errors (30 rows on each side). Of more than 20 000 rows a seeded sample is read. A text whose language is not
    certain counts for nothing.
    """
    mixes = {name: _mix(checked, split, seed) for name, split in checked.splits.items()}
    everywhere = mixes["train"].all or sum((mix.all for mix in mixes.values()), Counter())
    if not everywhere:
        return []
    main = everywhere.most_common(1)[0][0]
    findings = (_finding(checked, name, mix, mixes["train"], main) for name, mix in mixes.items())
    return [finding for finding in findings if finding]


def _mix(checked: Checked, split: Split, seed: int) -> _Mix:
    """Read the split, or a sample of it, once."""
    mix = _Mix(min(len(split), _SAMPLE))
    chosen = bytearray(b"\x01") * len(split)
    if len(split) > _SAMPLE:
        chosen = bytearray(len(split))
        for row in random.Random(seed).sample(range(len(split)), _SAMPLE):
            chosen[row] = 1
    for row, text, label in compress(zip(count(), split.texts, split.labels, strict=False), chosen):
        name = language(text)
        if name is None:
            continue
        mix.all[name] += 1
        rows = mix.rows.setdefault(name, [])
        rows.append(row)
        if len(rows) <= MOST_EXAMPLES:
            mix.texts[row] = cut(text)
        for label_name in checked.class_names(label):
            mix.by_class.setdefault(label_name, Counter())[name] += 1
    return mix


def _finding(checked: Checked, name: str, mix: _Mix, train: _Mix, main: str) -> Finding | None:
    split, known = checked.splits[name], mix.all.total()
    indices = sorted(row for other, rows in mix.rows.items() if other != main for row in rows)
    of_class = _difference_of_class(mix) if len(indices) >= _FEWEST else None
    of_split = None if name == "train" else _difference(mix.all, train.all)
    if not (of_class or of_split or (len(indices) >= _FEWEST and len(indices) > _LEAST_SHARE * known)):
        return None
    others = [(other, rows) for other, rows in mix.all.most_common() if other != main]
    mixture = ", ".join(f"{other} {percent(rows / known)}" for other, rows in others[:5]) or "none"
    sampled = f" in a seeded sample of {mix.read} rows" if mix.read < len(split) else ""
    message = (
        f"not in {main}, as most of train is: {mixture} of {counted(known, 'row')} whose language is known{sampled}"
    )
    advice = ["leave these rows out, or take a checkpoint that was trained on all these languages"]
    if of_split:
        other, here, there = of_split
        message += f"; {other} is {percent(here)} of {name} and {percent(there)} of train"
        advice.append(f"figures on {name} do not hold for the languages of train")
    if of_class:
        label, (other, here, there) = of_class
        message += f"; {other} is {percent(here)} of {cut(label, 40)} and {percent(there)} of the other labels"
        advice.append("a model may learn the language in place of the label: collect each label in each language")
    return Finding(
        check="languages",
        severity="warning" if of_class or of_split else "note",
        split=name,
        rows=len(indices),
        of=mix.read,
        message=message,
        advice="; ".join(advice) + ".",
        examples=list(_examples(checked, split, mix, main)),
        indices={name: indices},
        measures={"known": known / mix.read, **{other: rows / known for other, rows in mix.all.most_common(10)}},
    )


def _examples(checked: Checked, split: Split, mix: _Mix, main: str) -> Iterator[Example]:
    """The first rows of each other language in turn."""
    others = [name for name, _ in mix.all.most_common() if name != main][:MOST_EXAMPLES]
    turns = [(turn, name) for turn in range(MOST_EXAMPLES) for name in others if turn < len(mix.rows[name])]
    for turn, name in turns[:MOST_EXAMPLES]:
        row = mix.rows[name][turn]
        yield Example(split.where(row), mix.texts[row], checked.label_name(split.labels[row]), name)


def _difference_of_class(mix: _Mix) -> tuple[str, tuple[str, float, float]] | None:
    """Class whose languages differ most from those of all other classes, if by enough."""
    together = sum(mix.by_class.values(), Counter())
    differences = ((name, _difference(counts, together - counts)) for name, counts in mix.by_class.items())
    differing = [(name, difference) for name, difference in differences if difference]

    def gap(item: tuple[str, tuple[str, float, float]]) -> tuple[float, float]:
        _, (_, first, second) = item
        return round(abs(first - second), 9), first

    return max(differing, key=gap, default=None)


def _difference(counts: Counter[str], others: Counter[str]) -> tuple[str, float, float] | None:
    """Language whose shares of two groups of rows differ most, and the shares.

    None where they differ by too little. Of two languages that differ alike, the rarer.
    """
    here, there = counts.total(), others.total()
    if min(here, there) < _FEWEST_COMPARED:
        return None
    shares = [(name, counts[name] / here, others[name] / there) for name in sorted(counts.keys() | others.keys())]
    name, first, second = max(shares, key=lambda share: (round(abs(share[1] - share[2]), 9), -share[1] - share[2]))
    both = (counts[name] + others[name]) / (here + there)
    error = math.sqrt(both * (1 - both) * (1 / here + 1 / there))
    return (name, first, second) if abs(first - second) > max(_DIFFERENCE, _CERTAIN * error) else None
