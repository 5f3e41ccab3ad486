"""A fine-tuned classifier: predictions, logits, features, files, explanations."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from nlp_ft.errors import ConfigError, did_you_mean
from nlp_ft.evaluation.inference_config import InferenceConfig
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, SINGLE, predicted, probabilities
from nlp_ft.inference.device import default_device
from nlp_ft.inference.files.predict_file import FileOptions
from nlp_ft.inference.forward import CHUNK, ForwardPass
from nlp_ft.inference.gate import Gate
from nlp_ft.inference.inputs import Texts
from nlp_ft.inference.options import PredictOptions, check_options
from nlp_ft.inference.prediction import Prediction
from nlp_ft.models.classifier import capacity, label_names

if TYPE_CHECKING:
    from nlp_ft.inference.explain.explanation import Explanation
    from nlp_ft.inference.files import FilePredictions


class AdapterSetup(NamedTuple):
    """Configuration, tokenizer and calibration of an adapter."""

    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    inference_config: InferenceConfig


class PredictFileOptions(PredictOptions, FileOptions, total=False):
    """Options of `Classifier.predict_file`."""


class _Active(NamedTuple):
    """The setup in use: one adapter's, or the only one there is."""

    setup: AdapterSetup
    problem_type: str
    labels: list[str]
    forward_pass: ForwardPass


class Classifier:
    """A fine-tuned model with its tokenizer and labels; made by `load()`.

    A prediction does not depend on the batch size or on the other texts. Threads may share a classifier: no call changes what
    another one answers; `use` waits until running calls have ended, and each call is answered by one adapter.

    adapter_setups, switch: several adapters over one base, and the function that switches between them; they replace
    tokenizer and inference_config.

    Attributes: model (what answers; it cannot be replaced), tokenizer (a copy, to be called as you like), problem_type, labels
    (class names in id order, [] for regression), max_seq_length (tokens of a window), inference_config (temperature,
    thresholds, long documents), adapters (names to `use`, empty without any).
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase | None = None,
        device: torch.device | str | None = None,
        inference_config: InferenceConfig | None = None,
        adapter_setups: Mapping[str, AdapterSetup] | None = None,
        switch: Callable[[str], nn.Linear] | None = None,
    ) -> None:
        self._model: Any = model.eval()
        self._model.to(device or default_device())
        self._gate = Gate()
        self._adapter_setups, self._switch = adapter_setups or {}, switch
        self._tokenizers: dict[int, PreTrainedTokenizerBase] = {}  # copies for callers, by id of the original
        if self._adapter_setups:
            self.use(next(iter(self._adapter_setups)))
        else:
            assert tokenizer is not None, "a model without adapters needs a tokenizer"
            self._activate(AdapterSetup(model.config, tokenizer, inference_config or InferenceConfig()))

    def _activate(self, setup: AdapterSetup, last: nn.Linear | None = None) -> None:
        config = setup.config
        problem_type: str = config.problem_type or (REGRESSION if config.num_labels == 1 else SINGLE)
        labels = [] if problem_type == REGRESSION else label_names(config)
        limit = capacity(self._model, setup.tokenizer)
        forward_pass = ForwardPass(self._model, setup.tokenizer, limit, setup.inference_config, last)
        self._active = _Active(setup, problem_type, labels, forward_pass)

    @property
    def model(self) -> Any:
        """The model that answers."""
        return self._model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """A copy of the tokenizer, as calls of a tokenizer change its settings."""
        tokenizer = self._active.setup.tokenizer
        if id(tokenizer) not in self._tokenizers:
            self._tokenizers.setdefault(id(tokenizer), copy.deepcopy(tokenizer))
        return self._tokenizers[id(tokenizer)]

    @property
    def forward_pass(self) -> ForwardPass:
        """Model and tokenizer in use, as this package calls them."""
        return self._active.forward_pass

    @property
    def problem_type(self) -> str:
        """Problem type as in the configuration of transformers."""
        return self._active.problem_type

    @property
    def labels(self) -> list[str]:
        """Class names in id order; [] for a regression."""
        return list(self._active.labels)

    @property
    def max_seq_length(self) -> int:
        """Number of tokens of a window."""
        return self._active.forward_pass.max_length

    @property
    def inference_config(self) -> InferenceConfig:
        """Temperature, thresholds and reading of long texts."""
        return self._active.setup.inference_config

    @property
    def adapters(self) -> list[str]:
        """Names of the adapters that can be used."""
        return list(self._adapter_setups)

    def use(self, name: str) -> Classifier:
        """Use another adapter from here on; nothing is loaded anew.

        Its weights, head, labels and calibration apply. Returns: itself. Raises: ConfigError for a name that is not in
        `adapters`.
        """
        if self._switch is None or name not in self._adapter_setups:
            known = ", ".join(self.adapters) or "none: load several by nlp_ft.load({name: directory, ...})"
            raise ConfigError(f"no adapter '{name}'; there are {known}.{did_you_mean(name, self.adapters)}")
        with self._gate.changing_alone():
            self._activate(self._adapter_setups[name], self._switch(name))
        return self

    def check_options(self, **options: Unpack[PredictOptions]) -> None:
        """Refuse options that `predict` would refuse.

        Raises: ConfigError for one out of range, or that this kind of problem has not.
        """
        check_options(**options)
        if options.get("abstain_below") is not None and self.problem_type == REGRESSION:
            raise ConfigError("abstain_below: a regression gives a number and no probability.")

    def predict(
        self,
        texts: Texts,
        batch_size: int = 32,
        *,
        top_k: int | None = None,
        return_logits: bool = False,
        abstain_below: float | None = None,
        long_documents: str = "window",
    ) -> list[Prediction]:
        """Predictions in the order of the texts.

        texts: a list, tuple, iterator or a column of any frame; a pair is a tuple (text, pair) in a list. A text of more
        tokens than the model holds is read in windows; `windows` is their number.

        Args:
            texts: the texts to label.
            batch_size: windows at a time; it changes no prediction.
            top_k: keeps this many of the `scores`, the likeliest first.
            return_logits: adds the raw logits.
            abstain_below: gives no label whose probability is less.
            long_documents: window, or truncate, which reads the beginning alone.

        Raises: TypeError for a bare string or a row that is no text; ConfigError for an option out of range; DataError for a
        text that is not whole characters, or blank where the tokenizer has no token at all for it.
        """
        with self._gate.answering():
            active = self._active
            self.check_options(top_k=top_k, abstain_below=abstain_below, long_documents=long_documents)
            outputs = active.forward_pass.run(texts, batch_size, long_documents)
        if not len(outputs.logits):
            return []
        config = active.setup.inference_config
        scores = probabilities(active.problem_type, outputs.logits, config.temperature)
        chosen = predicted(active.problem_type, outputs.logits, config.limits(active.labels))
        predictions = []
        for row in range(len(outputs.logits)):
            label, score, by_name = _label_and_scores(active, scores[row], chosen[row])
            if abstain_below is not None and score < abstain_below:
                label = None
            if top_k is not None:
                by_name = dict(sorted(by_name.items(), key=lambda pair: -pair[1])[:top_k])
            logits = tuple(outputs.logits[row].tolist()) if return_logits else None
            predictions.append(
                Prediction(label, score, by_name, int(outputs.windows[row]), logits, int(outputs.cut[row]))
            )
        return predictions

    def logits(self, texts: Texts, batch_size: int = 32, *, long_documents: str = "window") -> np.ndarray:
        """Raw logits, a float32 array (rows, classes).

        Rows of like length share a batch. Texts and errors as in `predict`.
        """
        with self._gate.answering():
            return self._active.forward_pass.run(texts, batch_size, long_documents).logits

    def embed(self, texts: Texts, batch_size: int = 32, *, long_documents: str = "window") -> np.ndarray:
        """The inputs of the last layer, pooled by text: float32 (rows, width).

        Of windows it is their mean. Texts and errors as in `predict`; ModelError for an exported model, which has no such
        output.
        """
        with self._gate.answering():
            features = self._active.forward_pass.run(texts, batch_size, long_documents, with_features=True).features
        assert features is not None
        return features

    def stream(self, texts: Texts, batch_size: int = 32, **options: Unpack[PredictOptions]) -> Iterator[Prediction]:
        """Predictions one by one, in order and in constant memory.

        texts: an iterable, which may be endless. options: as `predict` takes them.
        """
        from nlp_ft.inference.files import stream

        yield from stream(partial(self.predict, batch_size=batch_size, **options), texts, batch_size * CHUNK)

    def predict_file(
        self,
        source: str | Path,
        output: str | Path,
        batch_size: int = 32,
        **options: Unpack[PredictFileOptions],
    ) -> FilePredictions:
        """Label a CSV, TSV, JSONL or Parquet file, of any size, into another file.

        A run that was interrupted resumes. Under `accelerate launch` the rows are shared among the processes.

        options: as `predict` takes them; columns of the texts, how the file is read (delimiter, file_format, encoding ...), and
        skip_bad_rows, which leaves out and counts rows without a text. Raises: DataError, ConfigError.
        """
        from nlp_ft.inference.files import predict_file

        of_predict: Any = dict(options)
        reading: Any = {name: of_predict.pop(name) for name in FileOptions.__annotations__ if name in of_predict}
        return predict_file(self, Path(source), Path(output), batch_size=batch_size, options=of_predict, **reading)

    def explain(
        self, texts: Texts, target: str | None = None, steps: int = 32, *, batch_size: int = 8
    ) -> list[Explanation]:
        """Attribute each label to the tokens, by layer integrated gradients.

        The completeness error is given, too. target: the label to explain; each text's predicted label where None. batch_size:
        rows at a time. Needs `pip install 'nlp_ft[explain]'`.
        """
        from nlp_ft.inference.explain.integrated_gradients import explain

        with self._gate.answering():
            return explain(self, texts, target=target, steps=steps, batch_size=batch_size)


def _label_and_scores(
    active: _Active, scores: np.ndarray, chosen: np.ndarray
) -> tuple[str | list[str] | float, float, dict[str, float]]:
    """Label, its probability, and those of all classes."""
    if active.problem_type == REGRESSION:
        return float(scores), float(scores), {}
    by_name = {name: float(score) for name, score in zip(active.labels, scores, strict=True)}
    if active.problem_type == MULTI:
        names = [name for name, is_on in zip(active.labels, chosen, strict=True) if is_on]
        return names, min(by_name[name] for name in names) if names else 1 - max(by_name.values()), by_name
    label = active.labels[int(chosen)]
    return label, by_name[label], by_name
