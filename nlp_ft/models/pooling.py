"""Masked mean pooling inside stock architectures, without a custom class.

BERT, RoBERTa and DistilBERT classifiers read the first token, whereas sentence embedders represent a text by the mean over its
tokens. One more ordinary layer computes that mean, so plain transformers loads and repeats it: query and key weights of zero
make attention uniform over the unmasked tokens, the value is the identity, the attention output a multiple of it, so large
that the first token's own vector nearly vanishes in the LayerNorm after it, and the feed-forward part adds zero. ModernBERT
has mean pooling built in.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Unpack

import torch
from torch import nn
from transformers import PreTrainedModel

from nlp_ft.errors import ModelError
from nlp_ft.models.pooling_file import HubOptions, read_pooling_file

POOLINGS: tuple[str, ...] = ("mean", "cls", "last", "max")
POOLING_KEY = "nlp_ft_pooling"  # key in config.json: a second run adds no second layer
_ROBERTAS = ("roberta", "xlm-roberta", "camembert")
_SCALE = 100.0  # factor of the attention output: the first token keeps a weight of about 1 %
_TANH_SLOPE = 0.5  # of the identity before a tanh: normalised vectors have unit variance, and tanh(0.5) is 0.46
_RELU_SHIFT = 2.0  # of the identity before a ReLU: 2 % of a normal variable lie below -2


class _Layer(NamedTuple):
    """Modules of one encoder layer that are set, named alike for every family."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    attention_output: nn.Linear
    first_norm: nn.LayerNorm
    feed_forward_output: nn.Linear
    last_norm: nn.LayerNorm


def choose_pooling(requested: str, model: PreTrainedModel, name: str, **hub: Unpack[HubOptions]) -> tuple[str, str]:
    """Resolve --pooling for the checkpoint `name`: the pooling and a short reason.

    The pooling is "stock", "mean", "cls" or "last". auto follows the checkpoint: mean where it was trained with mean pooling,
    as its 1_Pooling/config.json (the file of sentence-transformers) says, and the architecture can compute it; stock
    otherwise.

    hub: for looking that file up on the Hub.

    Raises: ModelError if the architecture cannot compute the requested pooling.
    """
    if getattr(model.config, POOLING_KEY, None) == "mean" and requested != "max":
        return "mean", "the checkpoint pools by mean already"
    if reason := pooling_obstacle(requested, model):
        raise ModelError(f"--pooling {requested}: {reason}. Use --pooling stock.")
    if requested != "auto":
        return requested, "as asked"
    if not _trained_with_mean(name, **hub):
        return "stock", "the checkpoint does not say that it was trained with mean pooling"
    if not can_pool_by_mean(model):
        return "stock", f"trained with mean pooling, which {type(model).__name__} cannot hold"
    return "mean", "the checkpoint was trained with mean pooling (1_Pooling/config.json)"


def pooling_obstacle(pooling: str, model: PreTrainedModel) -> str:
    """Reason why a stock classifier of this architecture cannot pool so, or ''."""
    class_name = type(model).__name__
    if pooling == "max":
        return "no stock layers can take a maximum over tokens, so plain transformers could not load it"
    if pooling == "last" and not _reads_last(model):
        return f"{class_name} is an encoder's, and reads its first token; the last one is what decoders read"
    if pooling in ("mean", "cls") and not can_pool_by_mean(model):
        ability = "pool by mean" if pooling == "mean" else "hand its first token on"
        return (
            f"{class_name} has no stock way to {ability}; bert, {', '.join(_ROBERTAS)}, distilbert and modernbert have"
        )
    return ""


def _reads_last(model: PreTrainedModel) -> bool:
    """Whether the head reads the last token; that of an encoder-decoder reads the last end token."""
    return (
        bool(model.config.is_encoder_decoder)
        or hasattr(model, "score")
        or getattr(model.config, "summary_type", None) == "last"
    )


def set_pooling(model: PreTrainedModel, pooling: str) -> None:
    """Apply the pooling that `choose_pooling` chose, in place.

    "mean" and "cls" change the model, and its head must then be fitted anew. cls: the first token of the last layer, passed on
    by the head's dense layer as a multiple of the identity.
    """
    if pooling == "mean":
        pool_by_mean(model)
    elif pooling == "cls" and model.config.model_type == "modernbert":
        model.config.classifier_pooling = "cls"
    elif pooling == "cls":
        pass_through(model)


def can_pool_by_mean(model: PreTrainedModel) -> bool:
    """Whether `pool_by_mean` supports the architecture."""
    model_type = model.config.model_type
    if model_type in ("bert", *_ROBERTAS):
        return not model.config.is_decoder
    return model_type in ("distilbert", "modernbert")


def pool_by_mean(model: PreTrainedModel) -> None:
    """Make the classifier read the masked mean of its last layer, in place.

    Its head must then be fitted anew. One layer is appended (config.num_hidden_layers grows by one) and the dense layer of the
    head is set to a multiple of the identity; deterministic, so the same checkpoint always becomes the same model. For
    ModernBERT the configuration is set instead. A model that pools by mean already is left alone.

    Raises: ModelError for an architecture that is not supported.
    """
    if getattr(model.config, POOLING_KEY, None) == "mean":
        return
    if not can_pool_by_mean(model):
        raise ModelError(f"{type(model).__name__} has no stock way to pool by mean.")
    setattr(model.config, POOLING_KEY, "mean")
    if model.config.model_type == "modernbert":
        model.config.classifier_pooling = "mean"
        return
    layers: nn.ModuleList = _layers(model)
    layer = copy.deepcopy(layers[-1])
    layers.append(layer)
    model.config.num_hidden_layers = len(layers)  # DistilBERT's configuration maps it to n_layers
    _set_uniform_attention(_layer_modules(layer))
    pass_through(model)


def dense_is_missing(model: PreTrainedModel, missing: Collection[str]) -> bool:
    """Whether the head's dense layer is among the parameters a checkpoint lacks."""
    dense = dense_of(model)
    return dense is not None and any(p is dense.weight and name in missing for name, p in model.named_parameters())


def dense_of(model: PreTrainedModel) -> nn.Linear | None:
    """Dense layer between the pooled token and the last layer.

    None where the head is not of BERT's form.
    """
    return _dense_of(model) if model.config.model_type in ("bert", *_ROBERTAS, "distilbert") else None


@contextmanager
def only_first_token(model: PreTrainedModel) -> Iterator[None]:
    """Context: the last layer's feed-forward part runs for the first token alone.

    That token is all that BERT's head reads.
    """
    if not can_pool_by_mean(model) or model.config.model_type == "modernbert":
        yield
        return
    norm = _layer_modules(_layers(model)[-1]).first_norm
    hook = norm.register_forward_pre_hook(lambda _, inputs: (inputs[0][:, :1],))
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def last_hidden_states(model: PreTrainedModel) -> Iterator[list[torch.Tensor]]:
    """Context: a list that collects the encoder's last hidden states.

    Each forward pass appends (rows, tokens, width), read before the mean-pooling layer where there is one.
    """
    added = getattr(model.config, POOLING_KEY, None) == "mean" and model.config.model_type != "modernbert"
    module = _layers(model)[-2] if added else model.base_model
    states: list[torch.Tensor] = []
    hook = module.register_forward_hook(
        lambda _, inputs, output: states.append(output if isinstance(output, torch.Tensor) else output[0])
    )
    try:
        yield states
    finally:
        hook.remove()


def pool_all_ways(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean, first token, last token and maximum, side by side: (rows, 4 * width).

    The order is that of POOLINGS; padding is masked.

    hidden: (rows, tokens, width); mask: (rows, tokens), 1 for a token and 0 for padding on either side.
    """
    kept = mask.bool()[..., None]
    rows, indices = torch.arange(len(hidden), device=hidden.device), torch.arange(mask.shape[1], device=hidden.device)
    first, last = mask.argmax(dim=1), (indices * mask).argmax(dim=1)
    mean = (hidden * kept).sum(dim=1) / kept.sum(dim=1)
    greatest = hidden.masked_fill(~kept, -torch.inf).amax(dim=1)
    return torch.cat([mean, hidden[rows, first], hidden[rows, last], greatest], dim=1)


def _layers(model: PreTrainedModel) -> nn.ModuleList:
    body: Any = model.base_model
    return body.transformer.layer if model.config.model_type == "distilbert" else body.encoder.layer


def _layer_modules(layer: Any) -> _Layer:
    if hasattr(layer, "ffn"):  # DistilBERT
        attention = layer.attention
        return _Layer(
            attention.q_lin,
            attention.k_lin,
            attention.v_lin,
            attention.out_lin,
            layer.sa_layer_norm,
            layer.ffn.lin2,
            layer.output_layer_norm,
        )
    heads, out = layer.attention.self, layer.attention.output
    return _Layer(
        heads.query, heads.key, heads.value, out.dense, out.LayerNorm, layer.output.dense, layer.output.LayerNorm
    )


@torch.no_grad()
def _set_uniform_attention(layer: _Layer) -> None:
    """Set a layer to LayerNorm(first token + _SCALE * masked mean) at every position.

    That is nearly LayerNorm(masked mean).
    """
    for linear in (layer.query, layer.key, layer.feed_forward_output):
        linear.weight.zero_()
    for linear in (layer.query, layer.key, layer.value, layer.attention_output, layer.feed_forward_output):
        linear.bias.zero_()
    nn.init.eye_(layer.value.weight)
    nn.init.eye_(layer.attention_output.weight).mul_(_SCALE)
    for norm in (layer.first_norm, layer.last_norm):
        norm.weight.fill_(1)
        norm.bias.zero_()


@torch.no_grad()
def pass_through(model: PreTrainedModel) -> None:
    """Set the head's dense layer to a multiple of the identity, in place.

    Small enough that the tanh after it (a ReLU: shifted to the right) is nearly linear where most values of a normalised vector
    lie, and large enough to go on training at the usual rates.
    """
    model_type, dense = model.config.model_type, _dense_of(model)
    nn.init.eye_(dense.weight)
    if model_type == "distilbert":
        dense.bias.fill_(_RELU_SHIFT)
    else:
        dense.weight.mul_(_TANH_SLOPE)
        dense.bias.zero_()


def _dense_of(model: Any) -> nn.Linear:
    if model.config.model_type == "bert":
        return model.base_model.pooler.dense
    return model.pre_classifier if model.config.model_type == "distilbert" else model.classifier.dense


def _trained_with_mean(name: str, **hub: Unpack[HubOptions]) -> bool:
    """Whether the checkpoint's 1_Pooling/config.json names mean pooling alone."""
    settings = read_pooling_file(name, **hub)
    if settings is None:
        return False
    modes = {key for key, is_on in settings.items() if key.startswith("pooling_mode_") and is_on is True}
    return modes == {"pooling_mode_mean_tokens"} or settings.get("pooling_mode") == "mean"
