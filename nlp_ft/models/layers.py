"""The encoder's layers, from the embeddings up: which of them train, how fast, from when on, and from what start."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from nlp_ft.config import FreezeArguments
from nlp_ft.errors import ConfigError, ModelError
from nlp_ft.models.pooling import MARK

_TOP_NORMS = ("norm", "final_norm", "ln_f")  # of decoders and ModernBERT: after the last layer, and trained with it


def layer_list(model: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """The list of all layers of the encoder (the mean-pooling one of `pooling`, too), with its name in the base model.

    Raises: ModelError for an architecture without one, such as ALBERT, whose layers share their weights.
    """
    depth = model.config.get_text_config().num_hidden_layers
    for name, module in model.base_model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return name, module
    raise ModelError(f"{type(model).__name__} holds no list of its {depth} layers, so they cannot be told apart.")


def pools_by_layer(model: PreTrainedModel) -> bool:
    """Whether its last layer is the one that `pooling.pool_by_mean` adds."""
    return getattr(model.config, MARK, None) == "mean" and model.config.model_type != "modernbert"


def encoder_layers(model: PreTrainedModel) -> list[nn.Module]:
    """The encoder's own layers, lowest first: without the one that `pooling` adds."""
    layers = list(layer_list(model)[1])
    return layers[:-1] if pools_by_layer(model) else layers


def depths(model: PreTrainedModel) -> dict[str, int]:
    """How high each parameter stands: 0 for embeddings, 1 to n for the n layers, n + 1 for everything of the head.

    The pooler and the mean-pooling layer belong to the head. Adapters stand where their layer does.
    """
    name, _ = layer_list(model)
    top = len(encoder_layers(model)) + 1
    body, listed = f"{model.base_model_prefix}.", f"{model.base_model_prefix}.{name}."
    found = {}
    for parameter, _ in model.named_parameters():
        rest = parameter.removeprefix(body).split(".")
        if parameter.startswith(listed):
            found[parameter] = min(int(parameter.removeprefix(listed).partition(".")[0]) + 1, top)
        elif not parameter.startswith(body) or rest[0] == "pooler":
            found[parameter] = top
        else:
            found[parameter] = top - 1 if rest[0] in _TOP_NORMS else 0
    return found


def top_layers(model: PreTrainedModel, count: int) -> list[str]:
    """Dotted names of the top `count` layers of the encoder."""
    if not count:
        return []
    name, _ = layer_list(model)
    depth = len(encoder_layers(model))
    return [f"{model.base_model_prefix}.{name}.{place}" for place in range(depth - count, depth)]


def reinitialise(model: PreTrainedModel, count: int) -> list[str]:
    """Start the top `count` layers (and BERT's pooler) at random, in place (Zhang et al. 2021, arXiv:2006.05987, section 5).

    Returns: what to say. Raises: ConfigError if there are not that many.
    """
    if not count:
        return []
    layers = encoder_layers(model)
    if count > len(layers):
        raise ConfigError(f"--reinit_layers {count}: this encoder has {len(layers)} layers.")
    std = getattr(model.config.get_text_config(), "initializer_range", 0.02)
    pooler = getattr(model.base_model, "pooler", None)
    for block in [*layers[-count:], *([pooler] if isinstance(pooler, nn.Module) else [])]:
        for module in block.modules():
            _start(module, std)
    return [f"layers: the top {count} of {len(layers)} start at random"]


@torch.no_grad()
def _start(module: nn.Module, std: float) -> None:
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=std)
        else:
            nn.init.constant_(parameter, 1.0 if name == "weight" else 0.0)  # the weight of a LayerNorm or RMSNorm


def freeze(model: nn.Module, spec: str | None) -> list[str]:
    """Freeze the embeddings and the lowest layers, in place: a number, "embeddings" or "all".

    Frozen layers stay in evaluation mode while the rest trains: dropout in them would be noise that nothing learns from.
    model: a classifier, which may carry adapters; those of frozen layers are frozen with them.

    Returns: what to say. Raises: ConfigError if there are not that many layers.
    """
    if spec is None:
        return []
    plain = unwrapped(model)
    layers = encoder_layers(plain)
    count = {"embeddings": 0, "all": len(layers)}.get(spec)
    count = int(spec) if count is None else count
    if count > len(layers):
        raise ConfigError(f"--freeze_layers {spec}: this encoder has {len(layers)} layers.")
    depth = depths(plain)
    for name, parameter in plain.named_parameters():
        if depth[name] <= count:
            parameter.requires_grad_(False)
    for module in [*_embedding_modules(plain), *layers[:count]]:
        keep_evaluating(module)
    what = "the embeddings" if count == 0 else f"the embeddings and the lowest {count} of {len(layers)} layers"
    return [f"frozen: {what}"]


def keep_evaluating(module: nn.Module) -> None:
    """Keep it in evaluation mode, without dropout, whenever it is run; for good."""
    module.register_forward_pre_hook(_evaluate)


def _evaluate(module: nn.Module, _: Any) -> None:
    module.eval()


def _embedding_modules(model: PreTrainedModel) -> list[nn.Module]:
    """The children of the body that are neither its layers nor above them."""
    held = layer_list(model)[1]
    return [
        child
        for name, child in model.base_model.named_children()
        if name not in (*_TOP_NORMS, "pooler") and not any(module is held for module in child.modules())
    ]


def unwrapped(model: nn.Module) -> Any:
    """The classifier itself, where adapters are around it."""
    get: Any = getattr(model, "get_base_model", None)
    return model if get is None else get()


class Plan:
    """What each parameter's learning rate is multiplied by, and until when it waits.

    model: the classifier as it goes into training, adapters and all. Parameters it does not hold count as the head's.
    """

    def __init__(self, model: nn.Module, args: FreezeArguments) -> None:
        plain = unwrapped(model)
        depth = depths(plain)
        self.decay, self.share = args.layerwise_lr_decay, args.gradual_unfreezing
        self.top = max(depth.values())
        self._depth = {id(parameter): depth[name] for name, parameter in plain.named_parameters()}

    def rate(self, parameter: nn.Parameter) -> float:
        """Decay ** (layers between it and the head) (Howard & Ruder 2018, arXiv:1801.06146, section 3.2)."""
        return self.decay ** (self.top - self._depth.get(id(parameter), self.top))

    def waiting(self, parameters: Iterable[nn.Parameter], progress: float) -> list[nn.Parameter]:
        """Those that do not train yet. progress: the share of all updates that is done.

        The head trains from the start, the top layer from share / (layers + 1) on, the embeddings from `share` on.
        """
        if self.share is None or progress >= self.share:
            return []
        lowest = self.top * (1 - progress / self.share)
        return [p for p in parameters if self._depth.get(id(p), self.top) < lowest - 1e-9]

    def notes(self, learning_rate: float) -> list[str]:
        """What to say of it."""
        said = []
        if self.share is not None:
            said.append(
                f"gradual unfreezing: the head first, then a layer at a time, all of them from {self.share:.0%} of the updates"
            )
        if self.decay < 1:
            lowest = learning_rate * self.decay**self.top
            said.append(f"layer-wise rates: {learning_rate:g} in the head, down to {lowest:.2g} in the embeddings")
        return said
