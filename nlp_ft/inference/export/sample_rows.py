"""Rows for comparing an export: a labelled file, the test split, random texts."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nlp_ft.data import Reading, load_labelled, texts_or_pairs
from nlp_ft.errors import DataError
from nlp_ft.inference.classifier import Classifier
from nlp_ft.inference.export.parity import Rows

_RANDOM_ROWS = 64
_COLUMNS = ("text_column_names", "text_pair_column_name", "label_column_name", "text_column_delimiter")


def comparison_rows(
    classifier: Classifier, directory: Path, files: Sequence[str] | None, columns: Mapping[str, Any], limit: int
) -> tuple[Rows, list[str]]:
    """At most `limit` rows, spread evenly over the file, and notes to log.

    files: labelled files to use; without any, the run's test_predictions.csv, or the test file that its run.json names, if it
    exists; else texts made of the vocabulary, without labels. columns: as `load_labelled` takes them.

    Raises: DataError for one of `files` that cannot be read.
    """
    if files:
        return _labelled(classifier, list(files), ", ".join(Path(file).name for file in files), columns, limit)
    notes = []
    for source, source_columns in _test_sources(directory):
        try:
            rows, source_notes = _labelled(classifier, source, "the run's own test split", source_columns, limit)
            return rows, [*notes, *source_notes]
        except (DataError, OSError) as error:
            notes.append(f"the run's own test rows cannot be read: {error}")
    notes.append(
        "no labelled rows are known (--test_file), so no metric is measured: texts made of the vocabulary are compared"
    )
    return Rows(random_texts(classifier, min(_RANDOM_ROWS, limit)), None, "made-up texts"), notes


def _labelled(
    classifier: Classifier, source: str | list[str], name: str, columns: Mapping[str, Any], limit: int
) -> tuple[Rows, list[str]]:
    data, notes = load_labelled(source, classifier.labels, classifier.problem_type, **columns)
    if not len(data):
        raise DataError(f"{name} has no rows to compare.")
    if len(data) > limit:
        data = data.select([index * len(data) // limit for index in range(limit)])
    return Rows(texts_or_pairs(data), data["label"][:], name), notes


def _test_sources(directory: Path) -> list[tuple[str | list[str], Mapping[str, str | None]]]:
    """The run's files of test rows, with the columns to read them by."""
    sources: list[tuple[str | list[str], Mapping[str, str | None]]] = []
    predictions, run = directory / "test_predictions.csv", directory / "run.json"
    if predictions.is_file():
        with predictions.open(encoding="utf-8", newline="") as handle:
            heads = next(csv.reader(handle), [])
        pair_column = "text_pair" if heads[1:2] == ["text_pair"] else None
        columns = {"text_column_names": "text", "text_pair_column_name": pair_column, "label_column_name": "label"}
        sources.append((str(predictions), {**columns, "delimiter": ","}))
    if run.is_file():
        try:
            arguments = json.loads(run.read_text(encoding="utf-8"))["arguments"]["data"]
            file = arguments["test_file"]
        except (ValueError, KeyError, TypeError):
            return sources
        files = [file] if isinstance(file, str) else file or []
        if files and all(Path(path).is_file() for path in files):
            sources.append((files, {name: arguments.get(name) for name in (*_COLUMNS, *Reading.__annotations__)}))
    return sources


def random_texts(classifier: Classifier, count: int, lengths: Sequence[int] = ()) -> list[str]:
    """Texts of random words of the vocabulary, always the same ones.

    lengths: number of words of each; 1 to 40 where not given.
    """
    tokenizer = classifier.tokenizer
    rng = random.Random(0)
    special = set(tokenizer.all_special_ids)
    ids = [number for number in range(len(tokenizer)) if number not in special]
    sizes = list(lengths) or [rng.randint(1, 40) for _ in range(count)]
    return [str(tokenizer.decode([rng.choice(ids) for _ in range(length)])) for length in sizes]
