"""`predict_file`: a file's rows with their answers in another file, block after block, shared and resumable."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nlp_ft.data import Size, TextFile, counted, open_texts
from nlp_ft.errors import ConfigError
from nlp_ft.inference.files.columns import prediction_columns
from nlp_ft.inference.files.formats import SUFFIXES, format_of
from nlp_ft.inference.files.resume import PartFiles
from nlp_ft.inference.files.stream import Answer, predict_located

_PROBES = ("a", "This was not what we had hoped for.", "Great, thanks! 10 of 10")
_LAYOUT = 1  # of OUTPUT.part


@dataclass(frozen=True)
class FilePredictions:
    """What came of a file: `rows` in `output`, of which `resumed_from` were done by a run before; `seconds` of this one."""

    rows: int
    seconds: float
    resumed_from: int
    output: Path

    @property
    def rows_per_second(self) -> float:
        """Rows that this run answered, by its seconds."""
        return (self.rows - self.resumed_from) / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class FileTask:
    """A file that was read through and found right, and where its answers go."""

    file: TextFile
    output: Path


def check_file(
    source: str | Path,
    output: str | Path,
    *,
    text_column_names: str | None = None,
    text_pair_column_name: str | None = None,
    text_column_delimiter: str | None = None,
    delimiter: str | None = None,
    block_rows: int = Size().rows,
) -> FileTask:
    """Read a file through before a model is loaded, so that every mistake in it is told at once.

    block_rows: rows that are answered, and written, at a time. Raises: DataError as `open_texts`; ConfigError for an output
    that is there, has no directory to stand in, or a suffix that is not written.
    """
    output = Path(output)
    if output.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{output}: its name must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}.")
    if not output.absolute().parent.is_dir():
        raise ConfigError(f"{output}: there is no directory {output.parent}.")
    if _process()[0] == 0:  # the others find the output where it was quick
        PartFiles(output).require_free()
    file = open_texts(
        source,
        text_column_names,
        text_pair_column_name,
        text_column_delimiter,
        delimiter=delimiter,
        block_rows=block_rows,
    )
    format_of(output, file, [])
    return FileTask(file, output)


def predict_file(
    classifier: Any,
    source: Path,
    output: Path,
    *,
    batch_size: int = 32,
    text_column_names: str | None = None,
    text_pair_column_name: str | None = None,
    text_column_delimiter: str | None = None,
    delimiter: str | None = None,
    answer: Answer | None = None,
    options: Mapping[str, Any] | None = None,
) -> FilePredictions:
    """Label a file into another: the input's own columns as they came, then those of `prediction_columns`.

    classifier: has `labels`, `problem_type` and `logits`, by which a run that goes on knows it again. answer: its `predict`
    with `options` and batch size bound; made of them where not given. Raises: as `check_file` and `predict_to_file`.
    """
    task = check_file(
        source,
        output,
        text_column_names=text_column_names,
        text_pair_column_name=text_pair_column_name,
        text_column_delimiter=text_column_delimiter,
        delimiter=delimiter,
    )
    answer = answer or partial(classifier.predict, batch_size=batch_size, **(options or {}))
    return predict_to_file(task, classifier, answer, options)


def predict_to_file(
    task: FileTask, classifier: Any, answer: Answer, options: Mapping[str, Any] | None = None
) -> FilePredictions:
    """Answer a file that was checked; a run that was cut goes on where it stopped, if nothing changed since.

    answer: gives the answers to a block. options: what it is bound to, as `predict` takes them. Blocks are shared among the
    processes of `accelerate launch` or torchrun, which must see one file system. On a terminal a bar tells how far it is.
    Raises: ConfigError where the input, the model or the options are not those of the run before; DataError for a row that
    has no answer, with its place.
    """
    index, processes = _process()
    main, started = index == 0, time.monotonic()
    parts, file = PartFiles(task.output), task.file
    columns = prediction_columns(classifier.labels, classifier.problem_type, options or {}, file.names)
    form = format_of(task.output, file, columns)
    if main:
        parts.require_free()
        print(*file.notes, sep="\n", file=sys.stderr)
    with parts.held(main):
        parts.agree_on_manifest(_made_of(file, classifier, options or {}), _probed(file, classifier), main)
        done = parts.done(len(file.sizes))
        mine = set(range(index, len(file.sizes), processes))
        with _bar(file, mine, done, main) as bar:
            for number, block in enumerate(file.blocks() if mine - done else ()):
                if number in mine - done:
                    found = predict_located(answer, file.texts(block), block.table.where)
                    parts.write(number, partial(form.write, block=block, found=found))
                    bar.update(len(block))
        if main:
            parts.finish(form, len(file.sizes))
        else:
            parts.wait_until_published()
    before = sum(file.sizes[number] for number in done)
    answers = FilePredictions(file.rows, time.monotonic() - started, before, task.output)
    if main:
        print(_closing(answers), file=sys.stderr)
    return answers


def _process() -> tuple[int, int]:
    """This process's number and how many there are, as launchers say it; no process group is needed, and none is made."""
    ranks = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK")
    sizes = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
    pairs = ((os.environ.get(rank), os.environ.get(size)) for rank, size in zip(ranks, sizes, strict=True))
    return next(((int(rank), int(size)) for rank, size in pairs if rank and size), (0, 1))


def _made_of(file: TextFile, classifier: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """What must not change between a run that was cut and the one that goes on, by what a user calls it."""
    inference_config: Any = getattr(classifier, "answering", None)
    return {
        "the input": file.digest,
        "the columns to read": [file.columns.texts, file.columns.text_pair, file.columns.delimiter, file.names],
        "the cut into blocks": [_LAYOUT, file.sizes],
        "the options": dict(options),
        "the model": {
            "labels": classifier.labels,
            "problem_type": classifier.problem_type,
            "answering": None if inference_config is None else dataclasses.asdict(inference_config),
        },
    }


def _probed(file: TextFile, classifier: Any) -> Any:
    """The model's logits of a few texts, by which it is known again whatever it is made of."""
    return classifier.logits(
        list(_PROBES) if file.columns.text_pair is None else [(text, text[::-1]) for text in _PROBES]
    )


def _bar(file: TextFile, mine: set[int], done: set[int], main: bool) -> Any:
    """Progress in rows of this process's own share; nothing where nobody watches."""
    from tqdm import tqdm

    total, before = (sum(file.sizes[number] for number in numbers) for numbers in (mine, mine & done))
    return tqdm(total=total, initial=before, unit=" rows", disable=None if main else True, smoothing=0.1)


def _closing(answers: FilePredictions) -> str:
    """`20 rows labelled, in out.csv (310 rows/s)`, and how many were done before."""
    before = f"; {answers.resumed_from} were done before" if answers.resumed_from else ""
    return (
        f"{counted(answers.rows, 'row')} labelled, in {answers.output} ({answers.rows_per_second:,.0f} rows/s{before})"
    )
