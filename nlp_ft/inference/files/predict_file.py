"""`predict_file`: a file's rows with their predictions in another file.

The rows are labelled block by block, shared among processes; an interrupted run resumes.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, Unpack

import numpy as np
from tqdm import tqdm

from nlp_ft.data import Columns, Reading, Size, TextFile, counted, open_texts
from nlp_ft.errors import ConfigError, DataError
from nlp_ft.evaluation.inference_config import InferenceConfig
from nlp_ft.inference.files.columns import prediction_columns
from nlp_ft.inference.files.formats import SUFFIXES, JsonLines, format_of
from nlp_ft.inference.files.pipes import PipedTexts
from nlp_ft.inference.files.resume import PartFiles
from nlp_ft.inference.files.stream import Predict, predict_located
from nlp_ft.inference.options import PredictOptions

if TYPE_CHECKING:
    from nlp_ft.inference.prediction import Prediction

_PROBE_TEXTS = ("a", "This was not what we had hoped for.", "Great, thanks! 10 of 10")
_LAYOUT_VERSION = 1  # of OUTPUT.part


class FileOptions(Reading, total=False):
    """How a file is read, and the columns of its texts: as `open_texts` takes them."""

    text_column_names: str | None
    text_pair_column_name: str | None
    text_column_delimiter: str | None
    skip_bad_rows: bool


class TextClassifier(Protocol):
    """The members of `Classifier` that files need; that module imports this one."""

    @property
    def labels(self) -> Sequence[str]:
        """Class names in id order."""
        ...

    @property
    def problem_type(self) -> str:
        """Problem type as in the configuration of transformers."""
        ...

    @property
    def predict(self) -> Callable[..., list[Prediction]]:
        """Predictions in the order of the texts."""
        ...

    @property
    def logits(self) -> Callable[..., np.ndarray]:
        """Raw logits (rows, classes)."""
        ...

    @property
    def inference_config(self) -> InferenceConfig:
        """What the saved model knows of itself."""
        ...

    def check_options(self, **options: Unpack[PredictOptions]) -> None:
        """Refuse options of `predict` that it would refuse."""
        ...


@dataclass(frozen=True)
class FilePredictions:
    """Result for a file: `rows` in `output`, `resumed_from` of them from before.

    seconds: duration of this run.
    """

    rows: int
    seconds: float
    resumed_from: int
    output: Path

    @property
    def rows_per_second(self) -> float:
        """Rows labelled by this run, per second."""
        return (self.rows - self.resumed_from) / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class FileTask:
    """A file that was read through and checked, and its output."""

    file: TextFile
    output: Path


def check_file(
    source: str | Path,
    output: str | Path,
    *,
    block_rows: int = Size().rows,
    **reading: Unpack[FileOptions],
) -> FileTask:
    """Read a file through before a model is loaded, to report its errors at once.

    block_rows: rows that are labelled and written at a time. reading: as `open_texts` takes it. Raises: DataError as
    `open_texts`; ConfigError for an output that exists, whose directory does not, or whose suffix is not supported.
    """
    output = Path(output)
    if output.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{output}: its name must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}.")
    if not output.absolute().parent.is_dir():
        raise ConfigError(f"{output}: there is no directory {output.parent}.")
    if _process()[0] == 0:  # a quick rank 0 may have written the output already
        PartFiles(output).require_free()
    file = open_texts(source, block_rows=block_rows, **reading)
    format_of(output, file, [])
    return FileTask(file, output)


def predict_file(
    classifier: TextClassifier,
    source: Path,
    output: Path,
    *,
    batch_size: int = 32,
    predict: Predict | None = None,
    options: PredictOptions | None = None,
    **reading: Unpack[FileOptions],
) -> FilePredictions:
    """Label a file into another: its columns, then those of `prediction_columns`.

    classifier: its `logits` identify the model when a run resumes. predict: its `predict` with `options` and batch size bound;
    made of them where None. Raises: as `check_file` and `predict_to_file`.
    """
    task = check_file(source, output, **reading)
    predict = predict or partial(classifier.predict, batch_size=batch_size, **(options or {}))
    return predict_to_file(task, classifier, predict, options)


def predict_to_file(
    task: FileTask, classifier: TextClassifier, predict: Predict, options: PredictOptions | None = None
) -> FilePredictions:
    """Label a file that was checked; an interrupted run resumes.

    It resumes only if nothing changed since. predict: gives the predictions of a block. options: what it is bound to, as
    `Classifier.predict` takes them. Blocks are shared among the processes of `accelerate launch` or torchrun, which must see
    one file system. A terminal shows a progress bar.

    Raises: ConfigError for an option out of range, before anything is written, and where the input, the model or the options
    are not those of the run before; DataError for a row that cannot be labelled, with its place in the file, and where the
    model reads pairs and the file has none, or the reverse.
    """
    options = options or PredictOptions()
    classifier.check_options(**options)
    require_kind(task.file.source, task.file.columns, classifier.inference_config)
    rank, processes = _process()
    main, started = rank == 0, time.monotonic()
    parts, file = PartFiles(task.output), task.file
    columns = prediction_columns(classifier.labels, classifier.problem_type, options, file.names)
    output_format = format_of(task.output, file, columns)
    if main:
        parts.require_free()
        print(*file.notes, sep="\n", file=sys.stderr)
    with parts.locked(main):
        parts.agree_on_manifest(_made_of(file, classifier, options), main)
        done = parts.done(len(file.sizes))
        assigned = set(range(rank, len(file.sizes), processes))
        with _bar(file, assigned, done, main) as bar:
            for number, block in enumerate(file.blocks() if assigned - done else ()):
                if number in assigned - done:
                    predictions = predict_located(predict, file.texts(block), block.table.where)
                    parts.write(number, partial(output_format.write, block=block, predictions=predictions))
                    bar.update(len(block))
        if main:
            parts.finish(output_format, len(file.sizes))
        else:
            parts.wait_until_published()
    resumed = sum(file.sizes[number] for number in done)
    result = FilePredictions(file.rows, time.monotonic() - started, resumed, task.output)
    if main:
        print(_summary(result), file=sys.stderr)
    return result


def predict_to_stream(
    source: TextFile | PipedTexts,
    handle: IO[bytes],
    classifier: TextClassifier,
    predict: Predict,
    options: PredictOptions,
    rows: int,
) -> int:
    """Label a file, or standard input, into JSON lines, block by block.

    handle: each block is flushed to it when it is answered. rows: of a block of standard input. options: what `predict` is
    bound to. Returns: the number of rows labelled. Raises: as `predict_to_file`.
    """
    classifier.check_options(**options)
    if _process()[1] > 1:
        raise ConfigError("a pipe is read and written by one process; start nlp-ft predict without a launcher.")
    done = 0
    with tqdm(unit=" rows", disable=None, smoothing=0.1) as bar:
        for block in source.blocks() if isinstance(source, TextFile) else source.blocks(rows):
            assert source.columns is not None
            names = source.names if isinstance(source, TextFile) else list(block.table.columns)
            if not done:
                require_kind(source.source, source.columns, classifier.inference_config)
            columns = prediction_columns(classifier.labels, classifier.problem_type, options, names)
            texts = source.texts(block)
            predictions = predict_located(predict, texts, block.table.where) if texts else []
            JsonLines(names, columns).write(handle, block, predictions)
            handle.flush()
            done += len(block)
            bar.update(len(block))
    return done


def require_kind(source: str, columns: Columns, inference_config: InferenceConfig) -> None:
    """Refuse texts for a model of pairs, and the reverse. Raises: DataError."""
    if inference_config.text_pair is None or inference_config.text_pair == (columns.text_pair is not None):
        return
    if inference_config.text_pair:
        raise DataError(
            f"{source}: this model was trained on pairs of texts, and one text column was taken ({', '.join(columns.texts)}); "
            "name the second one with --text_pair_column_name."
        )
    raise DataError(
        f"{source}: this model was trained on single texts, and a pair of columns was taken ({columns.texts[0]}, "
        f"{columns.text_pair}); name one with --text_column_names, or join both with --text_column_delimiter."
    )


def _process() -> tuple[int, int]:
    """Rank of this process and number of processes, from the launcher's environment.

    No process group is needed, and none is made.
    """
    ranks = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK")
    sizes = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
    pairs = ((os.environ.get(rank), os.environ.get(size)) for rank, size in zip(ranks, sizes, strict=True))
    return next(((int(rank), int(size)) for rank, size in pairs if rank and size), (0, 1))


def _made_of(file: TextFile, classifier: TextClassifier, options: Mapping[str, object]) -> dict[str, object]:
    """Conditions that an interrupted run and its resumption must share.

    The keys are names a user knows. The model is identified by logits of a few texts, whatever it is made of.
    """
    return {
        "the input": file.digest,
        "the columns to read": [file.columns.texts, file.columns.text_pair, file.columns.delimiter, file.names],
        "the cut into blocks": [_LAYOUT_VERSION, file.sizes],
        "the options": dict(options),
        "the model": {
            "labels": classifier.labels,
            "problem_type": classifier.problem_type,
            "logits": _probe_logits(file, classifier).tolist(),
            "answering": dataclasses.asdict(classifier.inference_config),
        },
    }


def _probe_logits(file: TextFile, classifier: TextClassifier) -> np.ndarray:
    """The model's logits of a few texts."""
    return classifier.logits(
        list(_PROBE_TEXTS) if file.columns.text_pair is None else [(text, text[::-1]) for text in _PROBE_TEXTS]
    )


def _bar(file: TextFile, assigned: set[int], done: set[int], main: bool) -> tqdm:
    """Progress bar over the rows of this process; rank 0 and terminals alone."""
    total, resumed = (sum(file.sizes[number] for number in numbers) for numbers in (assigned, assigned & done))
    return tqdm(total=total, initial=resumed, unit=" rows", disable=None if main else True, smoothing=0.1)


def _summary(result: FilePredictions) -> str:
    """`20 rows labelled, in out.csv (310 rows/s)`, and how many were done before."""
    resumed = f"; {result.resumed_from} were done before" if result.resumed_from else ""
    return f"{counted(result.rows, 'row')} labelled, in {result.output} ({result.rows_per_second:,.0f} rows/s{resumed})"
