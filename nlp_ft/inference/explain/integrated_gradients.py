"""Why a text was labelled so: what each of its words adds, by integrated gradients on the word embeddings.

Sundararajan et al. 2017, arXiv:1703.01365, as captum's LayerIntegratedGradients has them. What is explained is the log-odds of
a label (log p / (1 - p): of a multi-label model its logit, of two classes the difference of theirs), or the number of a
regression. A word's attribution is its share in the difference between the text and its baseline: the same text with a pad
token in every place but those of special tokens, which stay, as do positions and the place that a decoder's head reads. The
shares add up to the difference but for the error of integrating in steps, which is reported with each text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from nlp_ft.errors import ConfigError, DataError, ModelError, did_you_mean
from nlp_ft.evaluation.inference_config import InferenceConfig
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, probabilities
from nlp_ft.inference.explain.explanation import Explanation
from nlp_ft.inference.explain.word_spans import Token, merge_into_words
from nlp_ft.inference.inputs import texts_and_pairs
from nlp_ft.models.layers import unwrapped

__all__ = ["Explanation", "Token", "explain"]


class Explainable(Protocol):
    """What is read of a `Classifier`, which imports this file."""

    model: Any
    tokenizer: PreTrainedTokenizerBase
    labels: list[str]
    problem_type: str
    max_seq_length: int
    inference_config: InferenceConfig


class _Row(NamedTuple):
    """A text, and as its tokenizer sees it; cut: tokens that were left out."""

    text: str
    pair: str | None
    encoding: Any
    cut: int


class _Batch(NamedTuple):
    """ids, baseline, kept (not padding): (rows, tokens); rest: the model's other inputs; targets (rows,); logits: raw."""

    ids: Tensor
    baseline: Tensor
    kept: Tensor
    rest: dict[str, Tensor]
    targets: Tensor
    logits: Tensor


def explain(
    classifier: Explainable, texts: Any, *, target: str | None = None, steps: int = 32, batch_size: int = 8
) -> list[Explanation]:
    """What each word of a text adds to a label's log-odds; in the order of the texts.

    Args:
        classifier: as `nlp_ft.load` gives it.
        texts: as `Classifier.predict` takes them. A text of more tokens than the model holds is cut, and `cut` says so.
        target: the label to explain; where not given, the likeliest of each text. A regression has none.
        steps: of the integral; each costs a forward and a backward pass. More make `completeness_error` smaller.
        batch_size: rows in one pass; it changes no answer.

    Raises: ConfigError for a label that is not there, an option out of range or a missing captum; DataError for a blank text
    that no token stands for; ModelError for an exported model, which has no gradients; TypeError as `predict`.
    """
    integrate = _captum()
    chosen = _check(classifier, target, steps, batch_size)
    firsts, seconds = texts_and_pairs(texts)
    rows = [_encode(classifier, i, text, None if seconds is None else seconds[i]) for i, text in enumerate(firsts)]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].encoding["input_ids"]))
    found: dict[int, Explanation] = {}
    lookup = _Lookup(classifier)
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        batch = _batch(classifier, [rows[i] for i in indices], chosen)
        shares = integrate(lookup.reading(batch), lookup).attribute(
            batch.ids,
            baselines=batch.baseline,
            additional_forward_args=(batch.ids, batch.targets, *batch.rest.values()),
            n_steps=steps,
            internal_batch_size=max(batch_size, len(indices)),
        )
        shares = shares.sum(-1).double().cpu()
        value, baseline = (lookup.of(ids, batch).double().tolist() for ids in (batch.ids, batch.baseline))
        for at, place in enumerate(indices):
            own = shares[at][batch.kept[at]].tolist()
            found[place] = _explanation(classifier, rows[place], batch, at, own, (value[at], baseline[at]))
    return [found[i] for i in range(len(rows))]


def _captum() -> Any:
    try:
        from captum.attr import LayerIntegratedGradients
    except ImportError:
        raise ConfigError("explaining needs captum; pip install 'nlp_ft[explain]'.") from None
    return LayerIntegratedGradients


def _check(classifier: Explainable, target: str | None, steps: int, batch_size: int) -> int | None:
    """The target's class number; None where each text has its own."""
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        if value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}.")
    if not isinstance(classifier.model, nn.Module):
        raise ModelError("an exported model has no gradients to explain by; load the directory it was exported from.")
    if not getattr(classifier.tokenizer, "is_fast", False):
        raise ModelError("this tokenizer does not say which characters its tokens are; explaining needs one that does.")
    if target is None:
        return None
    if classifier.problem_type == REGRESSION:
        raise ConfigError(f"target {target!r}: a regression has no labels; leave the target out to explain its number.")
    if target not in classifier.labels:
        held = ", ".join(classifier.labels[:10])
        raise ConfigError(f"no label {target!r}; there are {held}.{did_you_mean(target, classifier.labels)}")
    return classifier.labels.index(target)


def _encode(classifier: Explainable, place: int, text: str, pair: str | None) -> _Row:
    """Raises: DataError for a blank text that no token stands for."""
    tokenizer, limit = classifier.tokenizer, classifier.max_seq_length
    whole = tokenizer(text, pair, verbose=False)["input_ids"]
    row = tokenizer(
        text, pair, truncation=True, max_length=limit, return_special_tokens_mask=True, return_offsets_mapping=True
    )
    if not whole:  # as in predicting, the end token stands for a blank text
        if tokenizer.eos_token_id is None:
            raise DataError(f"row {place}: {text!r} has no tokens, and this tokenizer no end token to stand for them.")
        row = tokenizer.pad({"input_ids": [tokenizer.eos_token_id]})
        row.update({"special_tokens_mask": [1], "offset_mapping": [(0, 0)]})
    return _Row(text, pair, row, max(len(whole) - len(row["input_ids"]), 0))


def _batch(classifier: Explainable, rows: Sequence[_Row], chosen: int | None) -> _Batch:
    """Rows padded, with their baseline and the labels to explain."""
    tokenizer, device = classifier.tokenizer, classifier.model.device
    lists = [{name: ids for name, ids in row.encoding.items() if name != "offset_mapping"} for row in rows]
    for row in lists:
        row["attention_mask"] = [1] * len(row["input_ids"])
    padded = dict(tokenizer.pad(lists, return_tensors="pt").to(device))
    ids, special = padded.pop("input_ids"), padded.pop("special_tokens_mask").bool()
    baseline = torch.where(special, ids, torch.full_like(ids, tokenizer.pad_token_id))
    with torch.no_grad():
        logits = classifier.model(input_ids=ids, **padded).logits.float()
    targets = logits.argmax(-1) if chosen is None else torch.full_like(ids[:, 0], chosen)
    return _Batch(ids, baseline, padded["attention_mask"].bool().cpu(), padded, targets, logits.cpu())


def _explanation(
    classifier: Explainable, row: _Row, batch: _Batch, at: int, shares: list[float], ends: tuple[float, float]
) -> Explanation:
    """shares: one a token of the row; ends: what is explained, for the text and for its baseline."""
    target, regression = int(batch.targets[at]), classifier.problem_type == REGRESSION
    scores = probabilities(
        classifier.problem_type, batch.logits[at : at + 1].numpy(), classifier.inference_config.temperature
    )[0]
    error = abs(sum(shares) - (ends[0] - ends[1]))
    tokens, sums = merge_into_words(row.text, row.pair, row.encoding, shares)
    return Explanation(
        text=row.text,
        pair=row.pair,
        target=None if regression else classifier.labels[target],
        score=float(scores if regression else scores[target]),
        tokens=tuple(tokens),
        attributions=tuple(sums),
        value=ends[0],
        baseline=ends[1],
        completeness_error=error,
        relative_error=error / abs(ends[0] - ends[1]) if ends[0] != ends[1] else 0.0,
        cut=row.cut,
    )


class _Lookup(nn.Module):
    """The word embeddings as a layer of (rows, tokens) -> (rows, tokens, width), whichever way round the model calls them."""

    def __init__(self, classifier: Explainable) -> None:
        super().__init__()
        self._classifier = classifier
        self._embedding = [
            unwrapped(classifier.model).get_input_embeddings()
        ]  # in a list, so that it is no child of this

    def forward(self, ids: Tensor) -> Tensor:
        """The embeddings alone."""
        return self._embedding[0](ids)

    def reading(self, batch: _Batch) -> Callable[..., Tensor]:
        """What captum calls: with ids to look up, then those that the rest of the model reads, and its other inputs."""

        def read(looked_up: Tensor, ids: Tensor, targets: Tensor, *rest: Tensor) -> Tensor:
            return self._read(self(looked_up), ids, targets, dict(zip(batch.rest, rest, strict=True)))

        return read

    @torch.no_grad()
    def of(self, ids: Tensor, batch: _Batch) -> Tensor:
        """What is explained, (rows,), with the embeddings of these ids in the place of the batch's own."""
        return self._read(self(ids), batch.ids, batch.targets, batch.rest)

    def _read(self, embeddings: Tensor, ids: Tensor, targets: Tensor, rest: dict[str, Tensor]) -> Tensor:
        """Log-odds or number, (rows,): the model gets the ids, for its positions and pooling, but these embeddings."""

        def instead(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if inputs[0].shape == ids.shape and torch.equal(inputs[0], ids):
                return embeddings
            if output.shape[:2] != embeddings.shape[1::-1]:
                raise ModelError("this architecture looks its words up in a way that cannot be explained.")
            return embeddings.transpose(0, 1)  # XLNet's tokens come first

        hook = self._embedding[0].register_forward_hook(instead)
        try:
            logits = self._classifier.model(input_ids=ids, **rest).logits.float()
        finally:
            hook.remove()
        own = logits.gather(1, targets[:, None])[:, 0]
        if self._classifier.problem_type in (MULTI, REGRESSION):
            return own
        others = logits.scatter(1, targets[:, None], -torch.inf)
        return own - others.logsumexp(-1)
