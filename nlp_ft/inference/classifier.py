"""A fine-tuned classifier that answers: any text, any length, any batch size, the same answer. `load()` makes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from accelerate import PartialState
from torch import nn

from nlp_ft.errors import ConfigError, did_you_mean
from nlp_ft.evaluation.inference_config import InferenceConfig
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, SINGLE, predicted, probabilities
from nlp_ft.inference.forward import CHUNK, Reader
from nlp_ft.inference.prediction import Prediction
from nlp_ft.models.classifier import capacity

if TYPE_CHECKING:
    from nlp_ft.inference.explain.explanation import Explanation
    from nlp_ft.inference.files import FileAnswers


class AdapterSetup(NamedTuple):
    """What an adapter brings along besides its weights."""

    config: Any
    tokenizer: Any
    inference_config: InferenceConfig


class Classifier:
    """A fine-tuned model with its tokenizer and labels; made by `load()`.

    voices, switch: several adapters over one base, and what changes from one to another, in place of tokenizer and answering.

    Attributes: model, tokenizer, problem_type, labels (class names in id order, [] for regression), max_seq_length (tokens
    of a window), answering (temperature, thresholds, long documents), adapters (names to `use`, empty without any).
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        device: torch.device | str | None = None,
        inference_config: InferenceConfig | None = None,
        adapter_setups: Mapping[str, AdapterSetup] | None = None,
        switch: Callable[[str], nn.Linear] | None = None,
    ) -> None:
        self.model: Any = model.eval()
        self.model.to(device or PartialState().device)
        self._adapter_setups, self._switch = adapter_setups or {}, switch
        if self._adapter_setups:
            self.use(next(iter(self._adapter_setups)))
        else:
            self._settle(AdapterSetup(model.config, tokenizer, inference_config or InferenceConfig()))

    def _settle(self, adapter_setup: AdapterSetup, last: nn.Linear | None = None) -> None:
        config = adapter_setup.config
        self.problem_type: str = config.problem_type or (REGRESSION if config.num_labels == 1 else SINGLE)
        names = [str(config.id2label[i]) for i in range(config.num_labels)]
        self.labels = [] if self.problem_type == REGRESSION else names
        self.tokenizer, self.inference_config = adapter_setup.tokenizer, adapter_setup.inference_config
        self.max_seq_length = capacity(self.model, adapter_setup.tokenizer)
        self._reader = Reader(
            self.model, adapter_setup.tokenizer, self.max_seq_length, self.inference_config.long_documents, last
        )

    @property
    def adapters(self) -> list[str]:
        """Names of the adapters there are to `use`."""
        return list(self._adapter_setups)

    def use(self, name: str) -> Classifier:
        """Answer with another adapter from here on: its weights, head, labels and calibration; nothing is loaded anew.

        Returns: itself. Raises: ConfigError for a name that is not among `adapters`.
        """
        if self._switch is None or name not in self._adapter_setups:
            held = ", ".join(self.adapters) or "none: load several by nlp_ft.load({name: directory, ...})"
            raise ConfigError(f"no adapter '{name}'; there are {held}.{did_you_mean(name, self.adapters)}")
        self._settle(self._adapter_setups[name], self._switch(name))
        return self

    def predict(
        self,
        texts: Any,
        batch_size: int = 32,
        *,
        top_k: int | None = None,
        return_logits: bool = False,
        abstain_below: float | None = None,
        long_documents: str = "window",
    ) -> list[Prediction]:
        """Answers in the order of the texts.

        texts: a list, tuple, iterator or a column of any frame; a pair is a tuple (text, pair) in a list. A text of more
        tokens than the model holds is read in windows, and `windows` says in how many.

        Args:
            texts: what to label.
            batch_size: windows at a time; it changes no answer.
            top_k: keeps this many of the `scores`, the likeliest first.
            return_logits: adds the raw logits.
            abstain_below: gives no label where its probability is less.
            long_documents: window, or truncate, which reads the beginning alone.

        Raises: TypeError for a bare string or a row that is no text; ConfigError for an option out of range; DataError for a
        text that is not whole characters, or blank where the tokenizer has no token at all to stand for it.
        """
        self._check(top_k, abstain_below)
        read = self._reader.read(texts, batch_size, long_documents)
        if not len(read.logits):
            return []
        scores = probabilities(self.problem_type, read.logits, self.inference_config.temperature)
        chosen = predicted(self.problem_type, read.logits, self.inference_config.limits(self.labels))
        found = []
        for row in range(len(read.logits)):
            label, score, by_name = self._answer(scores[row], chosen[row])
            if abstain_below is not None and score < abstain_below:
                label = None
            if top_k is not None:
                by_name = dict(sorted(by_name.items(), key=lambda pair: -pair[1])[:top_k])
            logits = tuple(read.logits[row].tolist()) if return_logits else None
            found.append(Prediction(label, score, by_name, int(read.windows[row]), logits))
        return found

    def logits(self, texts: Any, batch_size: int = 32, *, long_documents: str = "window") -> np.ndarray:
        """Float32 array (rows, classes), raw; texts and errors as in `predict`. Rows of like length share a batch."""
        return self._reader.read(texts, batch_size, long_documents).logits

    def embed(self, texts: Any, batch_size: int = 32, *, long_documents: str = "window") -> np.ndarray:
        """The pooled encoder output that the last layer reads, float32 (rows, width); of windows their mean.

        Texts and errors as in `predict`; ModelError for an exported model, which has no such output.
        """
        found = self._reader.read(texts, batch_size, long_documents, keep=True).features
        assert found is not None
        return found

    def stream(self, texts: Iterable[Any], batch_size: int = 32, **options: Any) -> Iterator[Prediction]:
        """Answers one after the other, in order and in constant memory, of texts without end if need be.

        options: as `predict` takes them.
        """
        from nlp_ft.inference.files import stream

        yield from stream(partial(self.predict, batch_size=batch_size, **options), texts, batch_size * CHUNK)

    def predict_file(
        self,
        source: str | Path,
        output: str | Path,
        batch_size: int = 32,
        *,
        text_column_names: str | None = None,
        text_pair_column_name: str | None = None,
        text_column_delimiter: str | None = None,
        delimiter: str | None = None,
        **options: Any,
    ) -> FileAnswers:
        """Label a CSV, TSV, JSONL or Parquet file, of any size, into another; a run that was cut goes on where it stopped.

        options: as `predict` takes them. Under `accelerate launch` the rows are shared among the processes.
        Raises: DataError, ConfigError.
        """
        from nlp_ft.inference.files import predict_file

        return predict_file(
            self,
            Path(source),
            Path(output),
            batch_size=batch_size,
            text_column_names=text_column_names,
            text_pair_column_name=text_pair_column_name,
            text_column_delimiter=text_column_delimiter,
            delimiter=delimiter,
            options=options,
        )

    def explain(self, texts: Any, target: str | None = None, steps: int = 32) -> list[Explanation]:
        """How much each token speaks for the label: layer integrated gradients, with their completeness error.

        target: the label to explain; each text's own answer where not given. Needs `pip install 'nlp_ft[explain]'`.
        """
        from nlp_ft.inference.explain.integrated_gradients import explain

        return explain(self, texts, target=target, steps=steps)

    def _check(self, top_k: int | None, abstain_below: float | None) -> None:
        if top_k is not None and top_k < 1:
            raise ConfigError(f"top_k must be at least 1, got {top_k}.")
        if abstain_below is not None and self.problem_type == REGRESSION:
            raise ConfigError("abstain_below: a regression gives a number and no probability to be unsure by.")
        if abstain_below is not None and not 0 <= abstain_below <= 1:
            raise ConfigError(f"abstain_below must be a probability, got {abstain_below}.")

    def _answer(self, scores: np.ndarray, chosen: Any) -> tuple[str | list[str] | float, float, dict[str, float]]:
        """Label, its probability, and those of all classes."""
        if self.problem_type == REGRESSION:
            return float(scores), float(scores), {}
        by_name = {name: float(score) for name, score in zip(self.labels, scores, strict=True)}
        if self.problem_type == MULTI:
            names = [name for name, on in zip(self.labels, chosen, strict=True) if on]
            return names, min(by_name[name] for name in names) if names else 1 - max(by_name.values()), by_name
        label = self.labels[int(chosen)]
        return label, by_name[label], by_name
