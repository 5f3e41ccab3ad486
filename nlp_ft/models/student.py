"""A smaller encoder out of a larger one: some of its layers, with their weights as they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from accelerate import PartialState
from torch import nn
from transformers import PreTrainedModel

from nlp_ft.config import ModelArguments
from nlp_ft.errors import ConfigError
from nlp_ft.models import classifier
from nlp_ft.models.heads import final_linear
from nlp_ft.models.layers import encoder_layers, layer_list
from nlp_ft.models.pooling import choose_pooling
from nlp_ft.utils import write_json

FLAG = "student_layers"
_NUMBER, _LIST = re.compile(r"\d+"), re.compile(r"\d+( *, *\d+)+")


def check_layers(spec: str | None) -> None:
    """Refuse what is neither a number of layers nor a list of them. Raises: ConfigError."""
    if spec is not None and not _NUMBER.fullmatch(spec) and not _LIST.fullmatch(spec):
        raise ConfigError(
            f"--{FLAG} must be a number of layers, or which ones, counted from 0, such as 0,2,5; got {spec!r}."
        )


def picked(spec: str, depth: int) -> list[int]:
    """Places of the layers to keep, from 0: those listed, or that many of `depth`, evenly spaced with first and last.

    Of one layer it is the first. Raises: ConfigError if there are not that many, or a list does not ascend.
    """
    check_layers(spec)
    if _NUMBER.fullmatch(spec):
        count = int(spec)
        if not 1 <= count <= depth:
            raise ConfigError(f"--{FLAG} {spec}: the checkpoint has {depth} layers; wanted 1 to {depth}.")
        return [place * (depth - 1) // max(count - 1, 1) for place in range(count)]
    indices = [int(part) for part in spec.split(",")]
    if any(low >= high for low, high in pairwise(indices)):
        raise ConfigError(f"--{FLAG} {spec}: wanted each layer once, the lowest first.")
    if indices[-1] >= depth:
        raise ConfigError(f"--{FLAG} {spec}: the checkpoint's layers are 0 to {depth - 1}.")
    return indices


def pick_layers(model: PreTrainedModel, spec: str) -> list[str]:
    """Keep some layers of a classifier, in place, their weights to the bit; its configuration then says so.

    The mean-pooling layer that `pooling` adds always stays and is not counted. A layer that scales by its own number (GPT-2's
    may) gets its new one in a fresh load.

    Returns: what to say. Raises: ConfigError as `picked`, or where the architecture needs its first layer; ModelError for an
    architecture without a list of layers.
    """
    name, layers = layer_list(model)
    depth = len(encoder_layers(model))
    indices = picked(spec, depth)
    if indices[0] != 0 and model.config.model_type == "modernbert":  # its first layer alone has no norm in front
        raise ConfigError(f"--{FLAG} {spec}: a ModernBERT needs its layer 0 as its first.")
    kept = [*indices, *range(depth, len(layers))]
    if len(kept) < len(layers):
        chosen = nn.ModuleList(layers[place] for place in kept)
        parent, _, child = name.rpartition(".")
        setattr(model.base_model.get_submodule(parent), child, chosen)
        _cut_config(model.config.get_text_config(), len(layers), kept)
    which = f"layer{'s' if len(indices) > 1 else ''} {', '.join(map(str, indices))}"
    return [f"student: {which} of the {depth} of its checkpoint, counted from 0"]


def start_directory(
    args: ModelArguments, problem_type: str, labels: Sequence[str], spec: str, directory: Path
) -> tuple[ModelArguments, list[str]]:
    """Write a checkpoint cut to some layers into a directory, its head with it where it is a trained one for these labels.

    Under several processes the first writes and all wait. Returns: the arguments that start from there, and what to say.
    Raises: as `models.load_classifier` and `pick_layers`.
    """
    tokenizer = classifier.load_tokenizer(args)
    model, notes, trained_head = classifier.load_classifier(args, tokenizer, problem_type, labels)
    pooling, _ = choose_pooling(
        args.pooling, model, args.model_name_or_path, revision=args.model_revision, cache_dir=args.cache_dir
    )
    said = pick_layers(model, spec)
    if PartialState().is_main_process:
        linear, _ = final_linear(model)
        weights = model.state_dict()
        if not trained_head:  # left out, it is started anew as in the whole checkpoint
            weights = {key: tensor for key, tensor in weights.items() if not key.startswith(f"{linear}.")}
        with classifier.quiet():
            model.save_pretrained(directory, state_dict=weights)
            tokenizer.save_pretrained(directory)
        if pooling == "mean":  # said where `choose_pooling` looks for it
            (directory / "1_Pooling").mkdir(exist_ok=True)
            write_json(directory / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    PartialState().wait_for_everyone()
    start = replace(
        args,
        model_name_or_path=str(directory),
        model_revision="main",
        config_name=None,
        tokenizer_name=None,
        gguf_file=None,
    )
    return start, [*said, *([] if trained_head else notes)]


def _cut_config(config: Any, depth: int, kept: list[int]) -> None:
    """The new depth, and lists with an entry a layer (layer_types and the like) cut to match."""
    cut = {
        key: [held[place] for place in kept]
        for key, held in vars(config).items()
        if "layer" in key and isinstance(held, list | tuple) and len(held) == depth
    }
    for key, value in {"num_hidden_layers": len(kept), **cut}.items():
        setattr(config, key, value)
