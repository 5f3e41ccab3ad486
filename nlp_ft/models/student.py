"""A smaller encoder made of some layers of a larger one, with their weights."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from accelerate import PartialState
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from nlp_ft.config import ModelArguments
from nlp_ft.errors import ConfigError
from nlp_ft.models import classifier
from nlp_ft.models.heads import final_linear
from nlp_ft.models.layers import encoder_layers, layer_lists
from nlp_ft.models.pooling import choose_pooling
from nlp_ft.utils import write_json

FLAG = "student_layers"
_DEPTH_KEYS = (("num_hidden_layers",), ("decoder_layers", "num_decoder_layers"))  # of the configuration, by stack
_NUMBER, _LIST = re.compile(r"\d+"), re.compile(r"\d+( *, *\d+)+")


def check_layers(spec: str | None) -> None:
    """Refuse a value that is neither a number of layers nor a list of them.

    Raises: ConfigError.
    """
    if spec is not None and not _NUMBER.fullmatch(spec) and not _LIST.fullmatch(spec):
        raise ConfigError(
            f"--{FLAG} must be a number of layers, or which ones, counted from 0, such as 0,2,5; got {spec!r}."
        )


def kept_indices(spec: str, depth: int) -> list[int]:
    """Indices of the layers to keep, counted from 0.

    Those listed, or that many of `depth`, evenly spaced with first and last; a single layer is the first.

    Raises: ConfigError if there are not that many, or a list does not ascend.
    """
    check_layers(spec)
    if _NUMBER.fullmatch(spec):
        count = int(spec)
        if not 1 <= count <= depth:
            raise ConfigError(f"--{FLAG} {spec}: the checkpoint has {depth} layers; wanted 1 to {depth}.")
        return [index * (depth - 1) // max(count - 1, 1) for index in range(count)]
    indices = [int(part) for part in spec.split(",")]
    if any(low >= high for low, high in pairwise(indices)):
        raise ConfigError(f"--{FLAG} {spec}: wanted each layer once, the lowest first.")
    if indices[-1] >= depth:
        raise ConfigError(f"--{FLAG} {spec}: the checkpoint's layers are 0 to {depth - 1}.")
    return indices


def keep_layers(model: PreTrainedModel, spec: str) -> list[str]:
    """Keep some layers of a classifier, in place, with their weights unchanged.

    Of an encoder-decoder the same layers of both. The configuration is changed to match. The mean-pooling layer that `pooling`
    adds always stays and is not counted. A layer that scales by its own number (GPT-2's may) gets its new number in a fresh
    load.

    Returns: notes to log. Raises: ConfigError as `kept_indices`, or where the architecture needs its first layer; ModelError
    for an architecture without a list of layers.
    """
    stacks = layer_lists(model)
    depth = len(encoder_layers(model)) if len(stacks) == 1 else min(len(layers) for _, layers in stacks)
    indices = kept_indices(spec, depth)
    for (name, layers), key in zip(stacks, _DEPTH_KEYS, strict=False):
        _check_first(model, layers, indices[0], spec)
        kept = [*indices, *(range(depth, len(layers)) if len(stacks) == 1 else [])]
        if len(kept) < len(layers):
            chosen = nn.ModuleList(layers[index] for index in kept)
            parent, _, child = name.rpartition(".")
            setattr(model.base_model.get_submodule(parent), child, chosen)
            config = model.config.get_text_config()
            _cut_config(config, next(k for k in key if hasattr(config, k)), len(layers), kept)
    names = f"layer{'s' if len(indices) > 1 else ''} {', '.join(map(str, indices))}"
    each = " in encoder and decoder each" if len(stacks) > 1 else ""
    return [f"student: {names} of the {depth} of its checkpoint{each}, counted from 0"]


def _check_first(model: PreTrainedModel, layers: nn.ModuleList, first: int, spec: str) -> None:
    """Check that a layer can be the first: ModernBERT's has no norm in front, T5's alone knows positions.

    Raises: ConfigError.
    """
    alike = layers[first].state_dict().keys() == layers[0].state_dict().keys()
    if first and (not alike or model.config.model_type == "modernbert"):
        name = "ModernBERT" if model.config.model_type == "modernbert" else model.config.model_type.upper()
        raise ConfigError(f"--{FLAG} {spec}: a {name} needs its layer 0 as its first.")


def write_student(
    args: ModelArguments, problem_type: str, labels: Sequence[str], spec: str, directory: Path
) -> tuple[ModelArguments, list[str]]:
    """Write a checkpoint cut to some layers into a directory.

    Its head is written, too, where it is a trained one for these labels. Under several processes rank 0 writes and all wait.

    Returns: the arguments that start from there, and notes to log. Raises: as `classifier.load_classifier` and `keep_layers`.
    """
    tokenizer = classifier.load_tokenizer(args)
    model, notes, trained_head = classifier.load_classifier(args, tokenizer, problem_type, labels)
    pooling, _ = choose_pooling(
        args.pooling, model, args.model_name_or_path, revision=args.model_revision, cache_dir=args.cache_dir
    )
    kept_notes = keep_layers(model, spec)
    if PartialState().is_main_process:
        last_layer, _ = final_linear(model)
        weights = model.state_dict()
        if not trained_head:  # left out, it is initialised anew, as from the whole checkpoint
            weights = {key: tensor for key, tensor in weights.items() if not key.startswith(f"{last_layer}.")}
        with classifier.quiet():
            model.save_pretrained(directory, state_dict=weights)
            tokenizer.save_pretrained(directory)
        if pooling == "mean":  # the file that `choose_pooling` reads
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
    return start, [*kept_notes, *([] if trained_head else notes)]


def _cut_config(config: PreTrainedConfig, depth_key: str, depth: int, kept: list[int]) -> None:
    """Set the new depth, and cut lists with an entry per layer to match."""
    cut = {
        key: [values[index] for index in kept]
        for key, values in vars(config).items()
        if "layer" in key and isinstance(values, list | tuple) and len(values) == depth
    }
    for key, value in {depth_key: len(kept), **cut}.items():
        setattr(config, key, value)
