"""Run every check, for `nlp-ft data check`, or the quick ones, for training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from datasets import Dataset

from nlp_ft.data import SOURCE, Labelled, TextData, texts_of
from nlp_ft.data.checks import (
    duplicates,
    label_distribution,
    label_errors,
    label_leakage,
    label_spelling,
    languages,
    text_damage,
    text_length,
)
from nlp_ft.data.checks.finding import Checked, Finding, Split
from nlp_ft.data.checks.near_duplicates import search
from nlp_ft.data.checks.report.check_report import CheckReport

_FEW_ROWS = 20_000  # checked in seconds

Progress = Callable[[str], Callable[[int, int], None]]
CountTokens = Callable[[Sequence[str]], list[int]]


def check(
    labelled: Labelled,
    *,
    seed: int = 42,
    count_tokens: CountTokens | None = None,
    max_seq_length: int = 512,
    progress: Progress | None = None,
) -> tuple[CheckReport, Checked]:
    """Run all checks; change nothing.

    count_tokens: numbers of tokens of texts, by the tokenizer that is to be used; without it no text is called too long.
    progress: called with the name of each check; returns a function that is called with (done, total) as that proceeds.
    Returns: the report, and what was checked.
    """
    started = time.monotonic()
    checked = checked_of(labelled)
    findings, looked_for = [], []
    for name, run in _checks(checked, seed, count_tokens, max_seq_length):
        advance = _nothing if progress is None else progress(name)
        advance(0, 1)
        findings += run(advance)
        advance(1, 1)
        looked_for.append(name)
    notes = [] if count_tokens is not None else ["tokens were not counted; name a tokenizer by --model_name_or_path"]
    sources = {split: table.source for split, table in labelled.tables.items()}
    return (
        CheckReport.of(
            checked,
            findings,
            sources=sources,
            looked_for=looked_for,
            notes=notes,
            seconds=time.monotonic() - started,
        ),
        checked,
    )


def summary(data: TextData) -> str:
    """Run the quick checks on the splits of a training run, in a second or two.

    Returns: a line for the log. Wrong labels are left to `check`.
    """
    splits = {}
    for name in ("train", "validation", "test"):
        rows: Dataset = getattr(data, name)
        pairs = rows["text_pair"] if "text_pair" in rows.column_names else None
        splits[name] = Split(
            name, rows["text"], pairs, rows["label"][:], lambda row, name=name: f"{name}, row {row + 1}"
        )
    checked = Checked(splits, data.problem_type, data.labels)
    findings = [*duplicates.exact(checked), *label_distribution.shape(checked), *text_damage.damage(checked)]
    if sum(map(len, splits.values())) <= _FEW_ROWS:
        findings += search.near_duplicates(checked)
    line = CheckReport.of(checked, findings, sources=data.fingerprint["sources"]).summary()
    return f"{line} (nlp-ft data check shows them)" if findings else line


def checked_of(labelled: Labelled) -> Checked:
    """Splits as the checks take them."""
    splits = {}
    made = {labelled.columns.label, SOURCE}
    for name, table in labelled.tables.items():
        cells, pairs = texts_of(table, labelled.columns)
        others = {
            column: table.columns[column] for column in table.columns if column not in {*labelled.columns.used, *made}
        }
        splits[name] = Split(name, cells, pairs, labelled.rows[name].labels, table.where, others)
    return Checked(splits, labelled.problem, labelled.labels)


def _nothing(done: int, total: int) -> None:
    pass


def _checks(
    checked: Checked, seed: int, count_tokens: CountTokens | None, max_seq_length: int
) -> Iterator[tuple[str, Callable[[Callable[[int, int], None]], list[Finding]]]]:
    """Yield each check with the name it is shown by."""
    yield "leaks, exact duplicates and conflicting labels", lambda _: duplicates.exact(checked)
    yield "near-duplicates", lambda advance: search.near_duplicates(checked, progress=advance)
    yield "wrong labels", lambda advance: label_errors.suspected(checked, progress=advance, seed=seed)
    yield "spellings of the labels", lambda _: label_spelling.spelling(checked)
    yield "class balance and drift", lambda _: label_distribution.shape(checked)
    yield "blank, short, long and boilerplate texts", lambda _: text_length.texts(checked, count_tokens, max_seq_length)
    yield "damaged texts", lambda _: text_damage.damage(checked)
    yield "columns and words that give the label away", lambda _: label_leakage.leakage(checked)
    yield "languages", lambda _: languages.languages(checked)
