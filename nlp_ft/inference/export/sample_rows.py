"""The rows on which an export is compared: a labelled file, the run's own test split, or made-up texts."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nlp_ft.data import load_labelled, texts_or_pairs
from nlp_ft.errors import DataError
from nlp_ft.inference.classifier import Classifier
from nlp_ft.inference.export.parity import Rows

_MADE_UP = 64
_COLUMNS = ("text_column_names", "text_pair_column_name", "label_column_name", "text_column_delimiter")


def comparison_rows(
    classifier: Classifier, directory: Path, files: Sequence[str] | None, columns: dict[str, Any], limit: int
) -> tuple[Rows, list[str]]:
    """At most `limit` rows, spread evenly over the file, and notes.

    files: labelled ones that were asked for; where there are none, the run's test_predictions.csv, or the test file that its
    run.json names, if it is there; else texts made up of the vocabulary, without labels. columns: as `load_labelled` takes.

    Raises: DataError for a file that was asked for and cannot be read.
    """
    if files:
        return _labelled(classifier, list(files), ", ".join(Path(file).name for file in files), columns, limit)
    notes = []
    for source, named in _own(directory):
        try:
            rows, said = _labelled(classifier, source, "the run's own test split", named, limit)
            return rows, [*notes, *said]
        except (DataError, OSError) as error:
            notes.append(f"the run's own test rows cannot be read: {error}")
    notes.append(
        "no labelled rows are known (--test_file), so no metric is measured: texts made of the vocabulary are compared"
    )
    return Rows(random_texts(classifier, min(_MADE_UP, limit)), None, "made-up texts"), notes


def _labelled(
    classifier: Classifier, source: Any, name: str, columns: dict[str, Any], limit: int
) -> tuple[Rows, list[str]]:
    data, notes = load_labelled(source, classifier.labels, classifier.problem_type, **columns)
    if not len(data):
        raise DataError(f"{name} has no rows to compare.")
    if len(data) > limit:
        data = data.select([place * len(data) // limit for place in range(limit)])
    return Rows(texts_or_pairs(data), data["label"][:], name), notes


def _own(directory: Path) -> list[tuple[Any, dict[str, Any]]]:
    """What a run left of its test rows, with the columns to read them by."""
    found: list[tuple[Any, dict[str, Any]]] = []
    predictions, run = directory / "test_predictions.csv", directory / "run.json"
    if predictions.is_file():
        with predictions.open(encoding="utf-8", newline="") as handle:
            heads = next(csv.reader(handle), [])
        pair = "text_pair" if heads[1:2] == ["text_pair"] else None
        named = {"text_column_names": "text", "text_pair_column_name": pair, "label_column_name": "label"}
        found.append((str(predictions), {**named, "delimiter": ","}))
    if run.is_file():
        try:
            said = json.loads(run.read_text(encoding="utf-8"))["arguments"]["data"]
            file = said["test_file"]
        except (ValueError, KeyError, TypeError):
            return found
        files = [file] if isinstance(file, str) else file or []
        if files and all(Path(one).is_file() for one in files):
            found.append((files, {name: said.get(name) for name in (*_COLUMNS, "delimiter")}))
    return found


def random_texts(classifier: Classifier, count: int, lengths: Sequence[int] = ()) -> list[Any]:
    """Texts of words drawn from the vocabulary, always the same ones; of these many words each, or of 1 to 40."""
    tokenizer = classifier.tokenizer
    rng = random.Random(0)
    special = set(tokenizer.all_special_ids)
    ids = [number for number in range(len(tokenizer)) if number not in special]
    wanted = list(lengths) or [rng.randint(1, 40) for _ in range(count)]
    return [tokenizer.decode([rng.choice(ids) for _ in range(length)]) for length in wanted]
