"""Damaged texts: broken encodings, HTML residue, invisible characters, addresses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from nlp_ft.data.checks import text_repair
from nlp_ft.data.checks.finding import MOST_EXAMPLES, Checked, Example, Finding, Split
from nlp_ft.data.text import cut
from nlp_ft.evaluation.report.text import percent

_WORTH_A_NOTE = 0.01  # share of rows with a URL or a mention, above which it is worth knowing
_PLACEHOLDER = 0.9  # share of them that are one and the same word, from which that is a placeholder
_MOST_WORDS = 1000  # distinct ones that are counted
_AROUND = 60  # characters shown before the first change of a long text


@dataclass(frozen=True)
class _Kind:
    """Kind of damage or residue.

    `look`: mends (damage) or finds (residue) it in a text; None if there is none.
    """

    look: Callable[[str], str | None]
    message: str
    advice: str


@dataclass
class _Rows:
    """Rows of one split with a kind of damage or residue.

    `mended`: repaired first texts, by row. `in_pair`: how many second texts are damaged, `pair_alone` without the first.
    `words`: URLs or mentions, with how many rows begin with each.
    """

    indices: list[int] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    mended: dict[int, str] = field(default_factory=dict)
    in_pair: int = 0
    pair_alone: int = 0
    words: Counter[str] = field(default_factory=Counter)


_DAMAGE = {
    "mojibake": _Kind(
        text_repair.encoding,
        "characters broken by a wrong encoding",
        "read the source again with the right --encoding, or let --fix mend what it can",
    ),
    "html": _Kind(
        text_repair.html,
        "HTML entities or tags",
        "--fix turns entities into characters and takes tags out; clean the texts to predict in the same way",
    ),
    "control_characters": _Kind(
        text_repair.control,
        "control or zero-width characters, which readers do not see but a tokenizer does",
        "--fix takes them out",
    ),
}
_RESIDUE = {
    "urls": _Kind(
        text_repair.url,
        "a web address",
        "a model may memorise addresses; replace each by one word such as [URL] if they say nothing about the label.",
    ),
    "mentions": _Kind(
        text_repair.mention,
        "an @mention",
        "a model may memorise names; replace each by one word such as @user if they say nothing about the label.",
    ),
}


def damage(checked: Checked) -> list[Finding]:
    """Find damaged texts and residue, by split.

    Warnings, mended by --fix: `mojibake` (by ftfy), `html` and `control_characters`. Notes: `urls` and `mentions`. A row
    counts if either text of a pair is damaged; the first alone is rewritten, and never to nothing. Notes are given from
    more than 1 % of rows on and rewrite nothing. Each kind is mended by itself.
    """
    return [finding for split in checked.splits.values() for finding in _findings(checked, split)]


def _findings(checked: Checked, split: Split) -> Iterator[Finding]:
    by_kind = {name: _Rows() for name in (*_DAMAGE, *_RESIDUE)}
    for row, text, pair in _suspects(split):
        for name, kind in _DAMAGE.items():
            _note_damage(by_kind[name], kind, checked, split, row, text, pair)
        for name, kind in _RESIDUE.items():
            _note_residue(by_kind[name], kind, checked, split, row, text, pair)
    for name, kind in _DAMAGE.items():
        if by_kind[name].indices:
            yield _damaged(name, kind, by_kind[name], split)
    for name, kind in _RESIDUE.items():
        if len(by_kind[name].indices) > _WORTH_A_NOTE * len(split):
            yield _residue(name, kind, by_kind[name], split)


def _suspects(split: Split) -> Iterator[tuple[int, str, str]]:
    """Rows that are worth a closer look: (row, text, second text or nothing)."""
    suspect = text_repair.SUSPECT.search
    if split.pairs is None:
        yield from ((row, text, "") for row, text in enumerate(split.texts) if suspect(text))
    else:
        rows = enumerate(zip(split.texts, split.pairs, strict=True))
        yield from ((row, text, pair) for row, (text, pair) in rows if suspect(text) or suspect(pair))


def _note_damage(rows: _Rows, kind: _Kind, checked: Checked, split: Split, row: int, text: str, pair: str) -> None:
    mended, pair_mended = kind.look(text), kind.look(pair) if pair else None
    if mended is None and pair_mended is None:
        return
    rows.indices.append(row)
    rows.in_pair += pair_mended is not None
    rows.pair_alone += mended is None
    if mended is not None and mended != text and mended.strip():
        rows.mended[row] = mended
    if len(rows.examples) < MOST_EXAMPLES:
        before, after = (text, mended) if mended is not None else (pair, pair_mended or "")
        before, note = _change(before, after)
        note = note if mended is not None else "the second text, which --fix leaves as it is"
        rows.examples.append(_example(checked, split, row, before, note))


def _note_residue(rows: _Rows, kind: _Kind, checked: Checked, split: Split, row: int, text: str, pair: str) -> None:
    word = kind.look(text) or (kind.look(pair) if pair else None)
    if word is None:
        return
    rows.indices.append(row)
    if word in rows.words or len(rows.words) < _MOST_WORDS:
        rows.words[word] += 1
    if len(rows.examples) < MOST_EXAMPLES:
        rows.examples.append(_example(checked, split, row, cut(text), cut(word, 80)))


def _example(checked: Checked, split: Split, row: int, text: str, note: str) -> Example:
    return Example(split.where(row), text, checked.label_name(split.labels[row]), note)


def _change(text: str, mended: str) -> tuple[str, str]:
    """Text from a little before its first change on, and what --fix makes of that."""
    changed = (at for at, (old, new) in enumerate(zip(text, mended, strict=False)) if old != new)
    first = next(changed, min(len(text), len(mended))) if mended != text else text.find("\ufffd")
    start = first - _AROUND if first > 2 * _AROUND else 0
    before, after = (cut("..." * (start > 0) + text_repair.shown(side[start : start + 400])) for side in (text, mended))
    if mended == text:
        return before, "cannot be mended: the characters are lost"
    return before, f"-> {after}" if mended.strip() else "left as it is: nothing would remain"


def _damaged(name: str, kind: _Kind, rows: _Rows, split: Split) -> Finding:
    advice = [kind.advice]
    left = len(rows.indices) - rows.pair_alone - len(rows.mended)
    if left:
        advice.append(f"{left} cannot be mended" if name == "mojibake" else f"{left} would be left blank and stay")
    if rows.in_pair:
        alone = f", {rows.pair_alone} of them alone" if rows.pair_alone else ""
        advice.append(f"--fix leaves second texts as they are ({rows.in_pair} damaged{alone}): mend them by hand")
    return Finding(
        check=name,
        severity="warning",
        split=split.name,
        rows=len(rows.indices),
        of=len(split),
        message=kind.message,
        advice="; ".join(advice) + ".",
        examples=rows.examples,
        indices={split.name: rows.indices},
        rewrite={split.name: rows.mended} if rows.mended else {},
        measures={"mended": len(rows.mended), "second_texts": rows.in_pair},
    )


def _residue(name: str, kind: _Kind, rows: _Rows, split: Split) -> Finding:
    (word, count), share = rows.words.most_common(1)[0], len(rows.indices) / len(split)
    placeholder = count >= _PLACEHOLDER * len(rows.indices)
    return Finding(
        check=name,
        severity="note",
        split=split.name,
        rows=len(rows.indices),
        of=len(split),
        message=f"{kind.message}, in {percent(share)} of rows" + f" (nearly always {cut(word, 40)})" * placeholder,
        advice="a placeholder; use the same in the texts to predict." if placeholder else kind.advice,
        examples=rows.examples,
        indices={split.name: rows.indices},
        measures={"share": share},
    )
