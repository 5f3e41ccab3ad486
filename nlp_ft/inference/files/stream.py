"""`stream`: answers to texts that come one after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from nlp_ft.errors import ConfigError, DataError

if TYPE_CHECKING:
    from nlp_ft.inference.prediction import Prediction

Answer = Callable[[Sequence[Any]], "list[Prediction]"]
_ROW = re.compile(r"row (\d+): ")


def stream(answer: Answer, texts: Iterable[Any], chunk: int) -> Iterator[Prediction]:
    """Answers in the order of the texts, which are taken `chunk` at a time and when they are wanted.

    Raises: TypeError for what is no iterable of texts, ConfigError for a chunk below 1; and what `answer` raises, its row
    counted from the first text of all.
    """
    if isinstance(texts, str):
        raise TypeError("stream() takes an iterable of texts; for one text use predict([text])[0].")
    if isinstance(texts, bytes | Mapping) or not isinstance(texts, Iterable):
        raise TypeError(f"stream() takes an iterable of texts, got {type(texts).__name__}.")
    if chunk < 1:
        raise ConfigError(f"chunk must be at least 1, got {chunk}.")
    return _answers(answer, iter(texts), chunk)


def _answers(answer: Answer, texts: Iterator[Any], chunk: int) -> Iterator[Prediction]:
    start = 0
    while held := list(islice(texts, chunk)):
        yield from predict_located(answer, held, lambda row, start=start: f"row {start + row}")
        start += len(held)


def predict_located(answer: Answer, texts: Sequence[Any], where: Callable[[int], str]) -> list[Prediction]:
    """Answers to some texts; an error that names one's row says where it is instead. Raises: as `answer`."""
    try:
        return answer(texts)
    except (DataError, TypeError) as error:
        found = _ROW.match(str(error))
        if found is None:
            raise
        raise type(error)(f"{where(int(found[1]))}: {str(error)[found.end() :]}") from None
