"""`stream`: predictions for texts that come one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from nlp_ft.errors import ConfigError, RowError, RowTypeError

if TYPE_CHECKING:
    from nlp_ft.inference.prediction import Prediction

Predict = Callable[[Sequence[object]], "list[Prediction]"]


def stream(predict: Predict, texts: Iterable[object], chunk: int) -> Iterator[Prediction]:
    """Predictions in the order of the texts, which are read `chunk` at a time.

    A chunk is read when its predictions are wanted.

    Raises: TypeError for what is no iterable of texts, ConfigError for a chunk below 1; and the errors of `predict`, with the
    row counted from the first text of all.
    """
    if isinstance(texts, str):
        raise TypeError("stream() takes an iterable of texts; for one text use predict([text])[0].")
    if isinstance(texts, bytes | Mapping) or not isinstance(texts, Iterable):
        raise TypeError(f"stream() takes an iterable of texts, got {type(texts).__name__}.")
    if chunk < 1:
        raise ConfigError(f"chunk must be at least 1, got {chunk}.")
    return _in_chunks(predict, iter(texts), chunk)


def _in_chunks(predict: Predict, texts: Iterator[object], chunk: int) -> Iterator[Prediction]:
    start = 0
    while chunk_texts := list(islice(texts, chunk)):
        yield from predict_located(predict, chunk_texts, lambda row, start=start: f"row {start + row}")
        start += len(chunk_texts)


def predict_located(predict: Predict, texts: Sequence[object], location: Callable[[int], str]) -> list[Prediction]:
    """Predictions for some texts; an error that names a row gives its location.

    location: from a row's number to its place in the input. Raises: as `predict`.
    """
    try:
        return predict(texts)
    except (RowError, RowTypeError) as error:
        raise error.at(location(error.row)) from None
