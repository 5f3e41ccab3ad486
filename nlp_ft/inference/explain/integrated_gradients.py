"""Word attributions of a prediction, by integrated gradients on word embeddings.

Source: Sundararajan et al. 2017, arXiv:1703.01365, as captum's LayerIntegratedGradients implements them. The explained value
is the log-odds of a label (log p / (1 - p): of a multi-label model its logit, of two classes the difference of theirs), or the
number of a regression. A word's attribution is its share in the difference between the text and its baseline: the same text
with pad tokens in place of all but special tokens; positions, and the position a decoder's head reads, stay the same. The
shares add up to the difference except for the error of integrating in steps, which is reported with each text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from transformers import BatchEncoding

from nlp_ft.data.encodings import encode_part, is_fast, join, sequence_ids, truncate
from nlp_ft.data.encodings import row as row_of_inputs
from nlp_ft.data.windows import end_token
from nlp_ft.errors import ConfigError, ModelError, did_you_mean
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, probabilities
from nlp_ft.inference.explain.explanation import Explanation
from nlp_ft.inference.explain.word_spans import Token, merge_into_words
from nlp_ft.inference.forward import ForwardPass
from nlp_ft.inference.inputs import Texts
from nlp_ft.models.layers import unwrapped
from nlp_ft.models.tokenizer import pad_token_id

__all__ = ["Explanation", "Token", "explain"]


class Explainable(Protocol):
    """The members of `Classifier` that are read here; that module imports this one."""

    @property
    def forward_pass(self) -> ForwardPass:
        """Model and tokenizer."""
        ...

    @property
    def labels(self) -> list[str]:
        """Class names in id order."""
        ...

    @property
    def problem_type(self) -> str:
        """Problem type as in the configuration of transformers."""
        ...


class _Row(NamedTuple):
    """A text and its encoding.

    parts: the text (0 or 1) of each token; cut: number of tokens that were truncated.
    """

    text: str
    pair: str | None
    encoding: BatchEncoding
    parts: list[int | None]
    cut: int


class _Batch(NamedTuple):
    """A padded batch with its baseline.

    ids, baseline, kept (not padding): (rows, tokens); rest: the model's other inputs; targets (rows,); logits: raw.
    """

    ids: Tensor
    baseline: Tensor
    kept: Tensor
    rest: dict[str, Tensor]
    targets: Tensor
    logits: Tensor


def explain(
    classifier: Explainable, texts: Texts, *, target: str | None = None, steps: int = 32, batch_size: int = 8
) -> list[Explanation]:
    """Attribute each label's log-odds to the words of its text.

    Args:
        classifier: as `nlp_ft.load` gives it.
        texts: as `Classifier.predict` takes them. A text of more tokens than the model holds is truncated; `cut` is the number
            left out.
        target: the label to explain; if None, the likeliest of each text. A regression has none.
        steps: of the integral; each costs a forward and a backward pass. More make `completeness_error` smaller.
        batch_size: rows in one pass; it changes no attribution.

    Returns: explanations in the order of the texts.

    Raises: ConfigError for an unknown label, an option out of range or a missing captum; DataError for a blank text
    without any token; ModelError for an exported model, which has no gradients; TypeError as `predict`.
    """
    integrate = _captum()
    chosen = _check(classifier, target, steps, batch_size)
    firsts, seconds = classifier.forward_pass.texts(texts)
    rows = [
        _encode(classifier.forward_pass, i, text, None if seconds is None else seconds[i])
        for i, text in enumerate(firsts)
    ]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].encoding["input_ids"]))
    explanations: dict[int, Explanation] = {}
    lookup = _Lookup(classifier)
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        batch = _batch(classifier, [rows[i] for i in indices], chosen)
        shares = integrate(lookup.forward_function(batch), lookup).attribute(
            batch.ids,
            baselines=batch.baseline,
            additional_forward_args=(batch.ids, batch.targets, *batch.rest.values()),
            n_steps=steps,
            internal_batch_size=max(batch_size, len(indices)),
        )
        shares = shares.sum(-1).double().cpu()
        value, baseline = (lookup.value(ids, batch).double().tolist() for ids in (batch.ids, batch.baseline))
        for row, index in enumerate(indices):
            row_shares = shares[row][batch.kept[row]].tolist()
            explanations[index] = _explanation(
                classifier, rows[index], batch, row, row_shares, (value[row], baseline[row])
            )
    return [explanations[i] for i in range(len(rows))]


def _captum() -> Any:
    try:
        from captum.attr import LayerIntegratedGradients
    except ImportError:
        raise ConfigError("explaining needs captum; pip install 'nlp_ft[explain]'.") from None
    return LayerIntegratedGradients


def _check(classifier: Explainable, target: str | None, steps: int, batch_size: int) -> int | None:
    """Check the options; index of the target's class, None if each text has its own."""
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        if value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}.")
    if not isinstance(classifier.forward_pass.model, nn.Module):
        raise ModelError("an exported model has no gradients to explain by; load the directory it was exported from.")
    if not is_fast(classifier.forward_pass.tokenizer):
        raise ModelError("this tokenizer does not say which characters its tokens are; explaining needs one that does.")
    if target is None:
        return None
    if classifier.problem_type == REGRESSION:
        raise ConfigError(f"target {target!r}: a regression has no labels; leave the target out to explain its number.")
    if target not in classifier.labels:
        known = ", ".join(classifier.labels[:10])
        raise ConfigError(f"no label {target!r}; there are {known}.{did_you_mean(target, classifier.labels)}")
    return classifier.labels.index(target)


def _encode(forward_pass: ForwardPass, index: int, text: str, pair: str | None) -> _Row:
    """Encode a text with offsets.

    Raises: DataError for a blank text without any token.
    """
    tokenizer, limit = forward_pass.tokenizer, forward_pass.max_length
    assert is_fast(tokenizer)
    parts = [encode_part(tokenizer, part) for part in (text, pair) if part is not None]
    encoding = join(tokenizer, parts[0], parts[1] if pair is not None else None)
    count = len(encoding.ids)
    if not count:  # as in predicting, the end token stands for a blank text
        blank = {"input_ids": [end_token(tokenizer, index, text)], "attention_mask": [1], "special_tokens_mask": [1]}
        return _Row(text, pair, BatchEncoding({**blank, "offset_mapping": [(0, 0)]}), [None], 0)
    if count > limit:
        encoding = truncate(tokenizer, text, pair, limit)
    inputs = {
        **row_of_inputs(tokenizer, encoding),
        "attention_mask": encoding.attention_mask,
        "special_tokens_mask": encoding.special_tokens_mask,
        "offset_mapping": encoding.offsets,
    }
    return _Row(text, pair, BatchEncoding(inputs, encoding), sequence_ids(encoding), count - len(encoding.ids))


def _batch(classifier: Explainable, rows: Sequence[_Row], chosen: int | None) -> _Batch:
    """Pad rows, with their baseline and the labels to explain."""
    tokenizer, model = classifier.forward_pass.tokenizer, classifier.forward_pass.model
    lists = [{name: ids for name, ids in row.encoding.items() if name != "offset_mapping"} for row in rows]
    padded = dict(tokenizer.pad([BatchEncoding(row) for row in lists], return_tensors="pt").to(model.device))
    ids, special = padded.pop("input_ids"), padded.pop("special_tokens_mask").bool()
    baseline = torch.where(special, ids, torch.full_like(ids, pad_token_id(tokenizer)))
    with torch.no_grad():
        logits = model(input_ids=ids, **padded).logits.float()
    targets = logits.argmax(-1) if chosen is None else torch.full_like(ids[:, 0], chosen)
    return _Batch(ids, baseline, padded["attention_mask"].bool().cpu(), padded, targets, logits.cpu())


def _explanation(
    classifier: Explainable, row: _Row, batch: _Batch, index: int, shares: list[float], ends: tuple[float, float]
) -> Explanation:
    """Build the explanation of one row.

    shares: one a token of the row; ends: the explained value, for the text and for its baseline.
    """
    target, regression = int(batch.targets[index]), classifier.problem_type == REGRESSION
    scores = probabilities(
        classifier.problem_type,
        batch.logits[index : index + 1].numpy(),
        classifier.forward_pass.inference_config.temperature,
    )[0]
    error = abs(sum(shares) - (ends[0] - ends[1]))
    tokens, sums = merge_into_words(row.text, row.pair, row.encoding, row.parts, shares)
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
    """The word embeddings as a layer: (rows, tokens) to (rows, tokens, width).

    It also serves models that transpose their inputs, such as XLNet.
    """

    def __init__(self, classifier: Explainable) -> None:
        super().__init__()
        self._problem_type = classifier.problem_type
        self._replacing = classifier.forward_pass.replacing_model()
        self._embedding = [  # in a list, so that it is no child of this
            unwrapped(classifier.forward_pass.model).get_input_embeddings()
        ]

    def forward(self, ids: Tensor) -> Tensor:
        """Look up the embeddings."""
        return self._embedding[0](ids)

    def forward_function(self, batch: _Batch) -> Callable[..., Tensor]:
        """The function that captum calls.

        Its arguments are the ids to look up, the ids that the rest of the model reads, the targets, and the other inputs.
        """

        def read(looked_up: Tensor, ids: Tensor, targets: Tensor, *rest: Tensor) -> Tensor:
            return self._read(self(looked_up), ids, targets, dict(zip(batch.rest, rest, strict=True)))

        return read

    @torch.no_grad()
    def value(self, ids: Tensor, batch: _Batch) -> Tensor:
        """The explained value, (rows,), with the embeddings of `ids` for the batch's own."""
        return self._read(self(ids), batch.ids, batch.targets, batch.rest)

    def _read(self, embeddings: Tensor, ids: Tensor, targets: Tensor, rest: dict[str, Tensor]) -> Tensor:
        """Log-odds or number, (rows,), with the given embeddings.

        The model gets the ids, for positions and pooling, but these embeddings.
        """

        def replace(looked_up: Tensor, output: Tensor) -> Tensor:
            if looked_up.shape == ids.shape and torch.equal(looked_up, ids):
                return embeddings
            if looked_up.shape == ids.shape and torch.equal(looked_up[:, 1:], ids[:, :-1]):
                return torch.cat([output[:, :1], embeddings[:, :-1]], dim=1)  # a decoder reads them one place later
            if output.shape[:2] != embeddings.shape[1::-1]:
                raise ModelError("this architecture looks its words up in a way that cannot be explained.")
            return embeddings.transpose(0, 1)  # XLNet's tokens come first

        with self._replacing.replacing(replace) as model:
            logits = model(input_ids=ids, **rest).logits.float()
        logit = logits.gather(1, targets[:, None])[:, 0]
        if self._problem_type in (MULTI, REGRESSION):
            return logit
        others = logits.scatter(1, targets[:, None], -torch.inf)
        return logit - others.logsumexp(-1)
