"""The encoder's layers: freezing, learning rates by depth, random starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel

from nlp_ft.config import FreezeArguments
from nlp_ft.errors import ConfigError, ModelError
from nlp_ft.models.pooling import POOLING_KEY

# After the last layer of decoders, ModernBERT, T5 and mBART, and trained with it.
_TOP_NORMS = ("norm", "final_norm", "ln_f", "final_layer_norm", "layer_norm")


def layer_list(model: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """Name in the base model and list of all layers of the encoder.

    The mean-pooling layer that `pooling` adds is in the list, too.

    Raises: ModelError for an architecture without such a list, such as ALBERT, whose layers share their weights.
    """
    depth = model.config.get_text_config().num_hidden_layers
    for name, module in model.base_model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return name, module
    raise ModelError(f"{type(model).__name__} holds no list of its {depth} layers, so they cannot be told apart.")


def layer_lists(model: PreTrainedModel) -> list[tuple[str, nn.ModuleList]]:
    """Names in the base model and lists of layers: one, or an encoder's and then a decoder's.

    Raises: ModelError as `layer_list`.
    """
    if not model.config.is_encoder_decoder:
        return [layer_list(model)]
    found = []
    for stack in ("encoder", "decoder"):
        for name, module in getattr(model.base_model, stack, model).named_children():
            if isinstance(module, nn.ModuleList) and len(module):
                found.append((f"{stack}.{name}", module))
                break
    if len(found) < 2:
        raise ModelError(f"{type(model).__name__} holds no lists of its layers, so they cannot be told apart.")
    return found


def pools_by_layer(model: PreTrainedModel) -> bool:
    """Whether the last layer is the one that `pooling.pool_by_mean` adds."""
    return getattr(model.config, POOLING_KEY, None) == "mean" and model.config.model_type != "modernbert"


def encoder_layers(model: PreTrainedModel) -> list[nn.Module]:
    """Layers below the head, lowest first, without the one that `pooling` adds.

    Those of an encoder-decoder are its encoder's, then its decoder's.
    """
    layers = [layer for _, stack in layer_lists(model) for layer in stack]
    return layers[:-1] if pools_by_layer(model) else layers


def parameter_depths(model: PreTrainedModel) -> dict[str, int]:
    """Depth of each parameter by name: 0 for embeddings, n + 1 for the head.

    The n layers have depths 1 to n. Pooler and mean-pooling layer belong to the head; an adapter has the depth of its layer.
    """
    top = len(encoder_layers(model)) + 1
    body, below = f"{model.base_model_prefix}.", 0
    first, last = {}, {}  # depths of the lowest and the highest layer of each stack, by the prefix of its parameters
    for name, layers in layer_lists(model):
        first[f"{body}{name}."] = below + 1
        below += len(layers)
        last[f"{body}{name.rpartition('.')[0]}".rstrip(".")] = min(below, top - 1)
    depths = {}
    for parameter, _ in model.named_parameters():
        stack = next((prefix for prefix in first if parameter.startswith(prefix)), None)
        parent, _, child = parameter.rpartition(".")[0].rpartition(".")
        if stack is not None:
            depths[parameter] = min(int(parameter.removeprefix(stack).partition(".")[0]) + first[stack], top)
        elif not parameter.startswith(body) or parameter.removeprefix(body).split(".")[0] == "pooler":
            depths[parameter] = top
        else:
            depths[parameter] = last.get(parent, 0) if child in _TOP_NORMS else 0
    return depths


def top_layers(model: PreTrainedModel, count: int) -> list[str]:
    """Dotted names of the top `count` layers of the encoder."""
    if not count:
        return []
    names = [f"{name}.{index}" for name, layers in layer_lists(model) for index in range(len(layers))]
    depth = len(encoder_layers(model))
    return [f"{model.base_model_prefix}.{name}" for name in names[depth - count : depth]]


def reinitialise(model: PreTrainedModel, count: int) -> list[str]:
    """Initialise the top `count` layers (and BERT's pooler) at random, in place.

    Source: Zhang et al. 2021, arXiv:2006.05987, section 5.

    Returns: notes to log. Raises: ConfigError if there are fewer layers.
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
            _initialise(module, std)
    return [f"layers: the top {count} of {len(layers)} start at random"]


@torch.no_grad()
def _initialise(module: nn.Module, std: float) -> None:
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=std)
        else:
            nn.init.constant_(parameter, 1.0 if name == "weight" else 0.0)  # the weight of a LayerNorm or RMSNorm


def freeze(model: nn.Module, spec: str | None) -> list[str]:
    """Freeze the embeddings and the lowest layers, in place.

    Frozen layers stay in evaluation mode while the rest trains: dropout in them would be noise that nothing learns from.

    model: a classifier, with adapters or without; adapters of frozen layers are frozen, too. spec: a number of layers,
    "embeddings" or "all".

    Returns: notes to log. Raises: ConfigError if there are fewer layers.
    """
    if spec is None:
        return []
    classifier = unwrapped(model)
    layers = encoder_layers(classifier)
    count = {"embeddings": 0, "all": len(layers)}.get(spec)
    count = int(spec) if count is None else count
    if count > len(layers):
        raise ConfigError(f"--freeze_layers {spec}: this encoder has {len(layers)} layers.")
    depth = parameter_depths(classifier)
    for name, parameter in classifier.named_parameters():
        if depth[name] <= count:
            parameter.requires_grad_(False)
    for module in [*_embedding_modules(classifier), *layers[:count], *_frozen_stacks(classifier, count)]:
        keep_in_eval_mode(module)
    frozen = "the embeddings" if count == 0 else f"the embeddings and the lowest {count} of {len(layers)} layers"
    return [f"frozen: {frozen}"]


def keep_in_eval_mode(module: nn.Module) -> None:
    """Keep a module in evaluation mode, without dropout, at every forward pass."""
    module.register_forward_pre_hook(_evaluate)


def _evaluate(module: nn.Module, _: object) -> None:
    module.eval()


def _embedding_modules(model: PreTrainedModel) -> list[nn.Module]:
    """Children of the body, or of its encoder and decoder, that are neither layers nor above them."""
    lists = [layers for _, layers in layer_lists(model)]
    above = (*_TOP_NORMS, "pooler", *(["dropout"] if len(lists) > 1 else []))  # T5's is above the layers, too
    return [
        child
        for stack in _stacks(model)
        for name, child in stack.named_children()
        if name not in above and not any(module in lists for module in child.modules())
    ]


def _frozen_stacks(model: PreTrainedModel, count: int) -> list[nn.Module]:
    """Encoder and decoder of which every layer is frozen: they have dropout of their own between the layers."""
    depths = accumulate(len(layers) for _, layers in layer_lists(model))
    return [
        stack for stack, depth in zip(_stacks(model), depths, strict=True) if len(_stacks(model)) > 1 and depth <= count
    ]


def _stacks(model: PreTrainedModel) -> list[PreTrainedModel]:
    """The body, or the encoder and the decoder of it."""
    body: Any = model.base_model
    return [body.encoder, body.decoder] if getattr(model.config, "is_encoder_decoder", False) else [body]


def word_embeddings(model: PreTrainedModel) -> list[nn.Module]:
    """Modules that look words up: one, or an encoder's and a decoder's, which may be the same."""
    stacks = _stacks(model) if getattr(model.config, "is_encoder_decoder", False) else [model]
    return list(dict.fromkeys(stack.get_input_embeddings() for stack in stacks))


def unwrapped(model: nn.Module) -> PreTrainedModel:
    """Return the classifier itself, without the wrapper that adapters put around it."""
    get_base_model: Callable[[], PreTrainedModel] | None = getattr(model, "get_base_model", None)
    return cast(PreTrainedModel, model) if get_base_model is None else get_base_model()


class LayerwiseSchedule:
    """Learning-rate factor of each parameter, and the time from which it trains.

    model: the classifier as it is trained, with its adapters. Parameters it does not hold count as the head's.
    """

    def __init__(self, model: nn.Module, args: FreezeArguments) -> None:
        classifier = unwrapped(model)
        depth = parameter_depths(classifier)
        self.decay, self.unfreezing_share = args.layerwise_lr_decay, args.gradual_unfreezing
        self.top = max(depth.values())
        self._depth = {id(parameter): depth[name] for name, parameter in classifier.named_parameters()}

    def lr_factor(self, parameter: nn.Parameter) -> float:
        """Factor of the learning rate: decay ** (layers between parameter and head).

        Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.2.
        """
        return self.decay ** (self.top - self._depth.get(id(parameter), self.top))

    def frozen_at(self, parameters: Iterable[nn.Parameter], progress: float) -> list[nn.Parameter]:
        """Parameters that do not train yet.

        progress: the share of all updates that is done.

        The head trains from the start, the top layer from unfreezing_share / (layers + 1) on, the embeddings from
        `unfreezing_share` on.
        """
        if self.unfreezing_share is None or progress >= self.unfreezing_share:
            return []
        lowest = self.top * (1 - progress / self.unfreezing_share)
        return [p for p in parameters if self._depth.get(id(p), self.top) < lowest - 1e-9]

    def notes(self, learning_rate: float) -> list[str]:
        """Notes to log."""
        notes = []
        if self.unfreezing_share is not None:
            notes.append(
                "gradual unfreezing: the head first, then a layer at a time, all of them from "
                f"{self.unfreezing_share:.0%} of the updates"
            )
        if self.decay < 1:
            lowest = learning_rate * self.decay**self.top
            notes.append(f"layer-wise rates: {learning_rate:g} in the head, down to {lowest:.2g} in the embeddings")
        return notes
