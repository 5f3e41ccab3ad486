"""Findings of near-duplicates.

Leaks across splits, and groups within a split.
"""

from __future__ import annotations

import numpy as np

from nlp_ft.data.checks.duplicate_keys import example
from nlp_ft.data.checks.finding import MOST_EXAMPLES, Checked, Example, Finding, Split
from nlp_ft.data.checks.near_duplicates.texts import SimilarPairs
from nlp_ft.data.text import cut

_LEAKS = (("train", "test"), ("train", "validation"), ("validation", "test"))
_TEMPLATE = 20  # texts: a larger group is rather one template filled in than versions of one text
_NOTE_LENGTH = 100


def near_leaks(checked: Checked, similar: SimilarPairs) -> list[Finding]:
    """Find texts of one split that are nearly the same as texts of another.

    Returns: a finding `near_leak` for each two splits that share some.
    """
    groups = similar.groups()
    templates = (np.bincount(groups) > _TEMPLATE)[groups]
    names = [split.name for split in similar.texts.rows.splits]
    splits = [(names.index(a), names.index(b)) for a, b in _LEAKS if a in names and b in names]
    findings = (_near_leak(checked, similar.across(a, b), templates, a, b) for a, b in splits)
    return [finding for finding in findings if finding]


def near_repeats(checked: Checked, similar: SimilarPairs) -> list[Finding]:
    """Find groups of texts that are nearly the same, linked pair by pair.

    Returns: a finding `near_duplicates` for each split that has some.
    """
    numbers = range(len(similar.texts.rows.splits))
    findings = (_near_repeat(checked, similar.within(number), number) for number in numbers)
    return [finding for finding in findings if finding]


def _near_leak(
    checked: Checked, similar: SimilarPairs, templates: np.ndarray, earlier: int, later: int
) -> Finding | None:
    if not len(similar.pairs):
        return None
    source, held_out = similar.texts.rows.splits[earlier], similar.texts.rows.splits[later]
    numbers = similar.texts.numbers[similar.texts.rows.span(earlier)]
    rows, scores = _ranked(similar.best(0)[numbers])
    leaked, leaked_scores = _ranked(similar.best(1)[similar.texts.numbers[similar.texts.rows.span(later)]])
    share = len(leaked) / len(held_out)
    drop = sorted(row for row in rows if not templates[numbers[row]]) if source.name == "train" else []
    kept = len(rows) - len(drop) if source.name == "train" else 0
    return Finding(
        check="near_leak",
        severity="warning" if (source.name, held_out.name) == ("train", "test") else "note",
        split=f"{source.name}/{held_out.name}",
        rows=len(rows),
        of=len(source),
        message=f"{len(leaked)} of {len(held_out)} texts of {held_out.name} ({share:.1%}) are nearly the same as one of "
        f"{source.name} (similarity from {similar.threshold:g})",
        advice=f"look at the pairs; where they are versions of one text, take them out of {source.name}"
        + (
            f"; --fix keeps {kept} rows of groups of more than {_TEMPLATE}, which look like a template."
            if kept
            else "."
        ),
        examples=_leak_examples(checked, similar, earlier, later),
        indices={source.name: rows, held_out.name: leaked},
        drop={source.name: drop} if drop else {},
        measures={f"{held_out.name}_rows": len(leaked), f"{held_out.name}_share": share},
        scores={source.name: scores, held_out.name: leaked_scores},
    )


def _leak_examples(checked: Checked, similar: SimilarPairs, earlier: int, later: int) -> list[Example]:
    """The held-out rows that are most similar, each with its nearest text."""
    ranked = similar.only(np.lexsort((*similar.pairs.T, -similar.similarities)))
    _, first = np.unique(ranked.pairs[:, 1], return_index=True)
    best = ranked.only(np.sort(first)[:MOST_EXAMPLES])
    source, held_out = similar.texts.rows.splits[earlier], similar.texts.rows.splits[later]
    sources, leaked = similar.texts.first_rows(earlier), similar.texts.first_rows(later)
    return [
        example(checked, held_out, int(leaked[text]), _like(checked, source, int(sources[match]), similarity))
        for (match, text), similarity in zip(best.pairs, best.similarities, strict=True)
    ]


def _near_repeat(checked: Checked, similar: SimilarPairs, number: int) -> Finding | None:
    if not len(similar.pairs):
        return None
    split = similar.texts.rows.splits[number]
    first, best, groups = similar.texts.first_rows(number), similar.best(), similar.groups()
    scored = np.zeros(len(split))
    scored[first[best > 0]] = best[best > 0]
    rows, scores = _ranked(scored)
    sizes = np.bincount(groups)
    return Finding(
        check="near_duplicates",
        severity="warning" if split.name == "train" else "note",
        split=split.name,
        rows=len(rows),
        of=len(split),
        message=f"texts that are nearly the same (similarity from {similar.threshold:g}): {_counted(sizes[sizes > 1])}",
        advice="look at them; many versions of one text count more than other texts, but add little to learn.",
        examples=_group_examples(checked, similar, split, first, sizes[groups], groups),
        indices={split.name: rows},
        measures={"groups": int((sizes > 1).sum()), "largest_group": int(sizes.max())},
        scores={split.name: scores},
    )


def _group_examples(
    checked: Checked, similar: SimilarPairs, split: Split, first: np.ndarray, sizes: np.ndarray, groups: np.ndarray
) -> list[Example]:
    """The most similar pair of each of the largest groups.

    Among groups of equal size, those with the most similar pairs.
    """
    texts = similar.pairs[:, 0]
    order = np.lexsort((*similar.pairs.T[::-1], -similar.similarities, -sizes[texts]))
    _, indices = np.unique(groups[texts][order], return_index=True)
    examples = []
    for pair in order[np.sort(indices)[:MOST_EXAMPLES]]:
        row, match = sorted(first[similar.pairs[pair]].tolist())
        note = _like(checked, split, row, float(similar.similarities[pair]))
        size = sizes[similar.pairs[pair, 0]]
        examples.append(example(checked, split, match, f"one of {size} in its group; {note}" if size > 2 else note))
    return examples


def _like(checked: Checked, split: Split, row: int, similarity: float) -> str:
    """`0.91 like train.csv:93 (negative): its text`."""
    other = example(checked, split, row, "")
    return f"{similarity:.2f} like {other.where} ({other.label}): {cut(other.text, _NOTE_LENGTH)}"


def _counted(sizes: np.ndarray) -> str:
    groups = "1 group" if len(sizes) == 1 else f"{len(sizes)} groups"
    return f"{groups}, the largest of {sizes.max()}" if sizes.max() > 2 else f"{groups} of two"


def _ranked(scores: np.ndarray) -> tuple[list[int], list[float]]:
    """Row numbers with a score, the highest first, and their scores."""
    rows = np.flatnonzero(scores)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    return rows.tolist(), scores[rows].tolist()
