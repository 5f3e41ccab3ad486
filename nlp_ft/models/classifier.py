"""Checkpoints as classifiers with the labels, pad token and dropout of a problem."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from nlp_ft.config import ModelArguments
from nlp_ft.errors import ConfigError, ModelError
from nlp_ft.models.checkpoint import (
    LoadingInfo,
    as_model_error,
    check_directory,
    grow_embeddings,
    open_classifier,
    quiet,
)
from nlp_ft.models.heads import final_linear
from nlp_ft.models.layers import pools_by_layer
from nlp_ft.models.lora import GGUF_KEY, add_lora, merged
from nlp_ft.models.pooling import dense_is_missing, pass_through
from nlp_ft.models.pooling_file import HubOptions
from nlp_ft.models.tokenizer import load_tokenizer, pad_token_id
from nlp_ft.utils import Note

__all__ = [
    "add_lora",
    "as_model_error",
    "capacity",
    "check_directory",
    "count_parameters",
    "label_names",
    "load_classifier",
    "load_tokenizer",
    "merged",
    "quiet",
    "set_dropout",
    "token_limit",
]

_NO_LIMIT = 100_000  # tokenizers without a limit have 1e30
_DEFAULT_LENGTH = 512


def load_classifier(
    args: ModelArguments, tokenizer: PreTrainedTokenizerBase, problem_type: str, labels: Sequence[str]
) -> tuple[PreTrainedModel, list[str], bool]:
    """Load the checkpoint as a float32 classifier with these labels.

    An empty list of labels means regression, with one output.

    Returns: the model, notes to log, and whether its head is a trained one that fits these labels (its rows are then put in the
    order of `labels`); any other last layer is initialised anew, even where its size would fit.

    Raises: ModelError if encoder weights are missing or do not fit; ConfigError for a dropout it cannot have.
    """
    name = args.model_name_or_path
    source_path = check_directory(name, args.gguf_file)
    hub: HubOptions = {"revision": args.model_revision, "cache_dir": args.cache_dir}
    gguf = {"gguf_file": args.gguf_file} if args.gguf_file else {}
    with quiet(), as_model_error(name, "configuration"):
        gguf_config = {} if args.config_name else gguf
        source = AutoConfig.from_pretrained(
            args.config_name or source_path, trust_remote_code=False, **gguf_config, **hub
        )
    config = _config_for(source, tokenizer, problem_type, labels)
    if args.dropout is not None:
        set_dropout(config, args.dropout)
    model, info = open_classifier(
        source_path,
        config=config,
        attn_implementation=args.attn_implementation,
        ignore_mismatched_sizes=True,
        **gguf,
        **hub,
    )
    notes = _check_loaded(name, model, info, args.ignore_mismatched_sizes)
    _check_end_token(name, model, tokenizer)
    if pools_by_layer(model) and dense_is_missing(model, info["missing_keys"]):  # a body saved without its head
        pass_through(model)
    grow_embeddings(model, len(tokenizer))
    _set_pad(model.config, pad_token_id(tokenizer))
    model.name_or_path = (
        str(Path(source_path).resolve()) if Path(source_path).is_dir() else source_path
    )  # adapters name it as their base
    if gguf:
        setattr(model.config, GGUF_KEY, args.gguf_file)
    head_notes, head_kept = _adapt_head(model, source, info, problem_type, labels)
    return model, [*notes, *head_notes], head_kept


def _config_for(
    source: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, problem_type: str, labels: Sequence[str]
) -> PreTrainedConfig:
    config: Any = copy.deepcopy(source)
    config.num_labels = max(len(labels), 1)
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}
    config.problem_type = problem_type
    pad = pad_token_id(tokenizer)
    if pad < config.get_text_config().vocab_size:  # else once the embeddings have grown
        _set_pad(config, pad)
    for name in (
        "use_cache",
        "use_mems_eval",
    ):  # a text is read once, and a pipeline cannot split XLNet's memories
        if hasattr(config, name):
            setattr(config, name, False)
    if config.is_encoder_decoder and getattr(config, "decoder_start_token_id", None) is None:
        config.decoder_start_token_id = pad  # T5's
    return config


def _check_end_token(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Check that texts end in the token that the head of an encoder-decoder reads. Raises: ModelError."""
    end = model.config.eos_token_id
    if model.config.is_encoder_decoder and end not in tokenizer("a")["input_ids"]:
        raise ModelError(
            f"{name}: its tokenizer puts no end token ({end}) after a text, which {type(model).__name__} reads; "
            "--tokenizer_name can name another."
        )


def label_names(config: PreTrainedConfig) -> list[str]:
    """Class names in id order; the number where one has no name."""
    names = {str(number): str(label) for number, label in (config.id2label or {}).items()}
    return [names.get(str(number), str(number)) for number in range(config.num_labels or 0)]


def _set_pad(config: PreTrainedConfig, pad_token_id: int) -> None:
    """Set the pad token, by which decoders pool: it must be the tokenizer's."""
    config.pad_token_id = config.get_text_config().pad_token_id = pad_token_id


def set_dropout(config: PreTrainedConfig, value: float) -> None:
    """Set every dropout probability of a configuration, its head's included.

    Raises: ConfigError if it has none.
    """
    text = config.get_text_config()
    values = {key: old for key, old in text.to_dict().items() if "dropout" in key or key.endswith("_pdrop")}
    numbers = [key for key, old in values.items() if isinstance(old, int | float) and not isinstance(old, bool)]
    if not numbers:
        raise ConfigError(f"--dropout: a {config.model_type} checkpoint has no dropout to set.")
    for key in (
        *numbers,
        *(key for key, old in values.items() if old is None),
    ):  # None: the head uses another one's value
        setattr(text, key, value)


def _check_loaded(name: str, model: PreTrainedModel, info: LoadingInfo, accept: bool) -> list[str]:
    """Check that the encoder is loaded in full; only the head may be new.

    With a random encoder, or a head that is random unnoticed, training would give nonsense.

    Returns: a note if whole layers of the checkpoint have no place in the model. Raises: ModelError.
    """
    body = model.base_model_prefix + "."
    mismatched = sorted(key[0] for key in info["mismatched_keys"] if key[0].startswith(body))
    if mismatched and not accept:
        raise ModelError(
            f"{name}: the shape of {mismatched[0]} (and {len(mismatched) - 1} more) does not fit its own configuration; "
            "use the right --config_name, or --ignore_mismatched_sizes to start those weights at random."
        )
    missing = sorted(key for key in info["missing_keys"] if key.startswith(body) and ".pooler." not in key)
    if missing:
        raise ModelError(
            f"{name} is no {type(model).__name__}: {len(missing)} weights of the encoder are not in it, such as {missing[0]}."
        )
    unused = sorted(key for key in info["unexpected_keys"] if any(part.isdigit() for part in key.split(".")))
    if unused:
        return [f"checkpoint: {len(unused)} of its weights have no place in this configuration, such as {unused[0]}"]
    return []


def _adapt_head(
    model: PreTrainedModel, source: PreTrainedConfig, info: LoadingInfo, problem_type: str, labels: Sequence[str]
) -> tuple[list[str], bool]:
    """Keep a trained head with the same labels, in our order; else start anew.

    Dense layers before the last one stay as they are in the checkpoint, as BERT's pooler does: they carry features and no
    label's meaning, and the last layer is what a probe then fits to them.

    Returns: notes to log, and whether the head is kept.
    """
    name, linear = final_linear(model)
    old_labels = label_names(source)
    if any(key[0].startswith(f"{name}.") for key in info["mismatched_keys"]):
        outputs = max(len(labels), 1)
        return [
            Note(f"head: started anew; the checkpoint's had {len(old_labels)} outputs, this problem {outputs}", "head")
        ], False
    if any(key.startswith(f"{name}.") for key in info["missing_keys"]):
        return [], False
    old_problem = source.problem_type or ("regression" if source.num_labels == 1 else "single_label_classification")
    if old_problem == problem_type == "regression" and source.num_labels == 1:
        return [Note("head: the checkpoint's own regression head goes on training", "head")], True
    if old_problem == problem_type and sorted(old_labels) == sorted(labels):
        _reorder(linear, [old_labels.index(label) for label in labels])
        return [Note("head: the checkpoint's own goes on training; its labels are these", "head")], True
    with torch.no_grad():
        nn.init.normal_(linear.weight, std=getattr(model.config, "initializer_range", 0.02))
        if linear.bias is not None:
            linear.bias.zero_()
    if old_problem != problem_type:
        return [
            Note(f"head: started anew; the checkpoint's is for {old_problem}, this problem is {problem_type}", "head")
        ], False
    more = ", ..." if len(old_labels) > 5 else ""
    return [
        Note(f"head: started anew; the checkpoint's labels are others ({', '.join(old_labels[:5])}{more})", "head")
    ], False


@torch.no_grad()
def _reorder(linear: nn.Linear, rows: list[int]) -> None:
    linear.weight.copy_(linear.weight[rows].clone())
    if linear.bias is not None:
        linear.bias.copy_(linear.bias[rows].clone())


def _positions(model: PreTrainedModel) -> int | None:
    """Number of tokens the model has positions for.

    None where they are relative and without limit (XLNet has -1).
    """
    limits = []
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            offset = 0 if module.padding_idx is None else module.padding_idx + 1  # RoBERTa counts from there
            limits.append(module.num_embeddings - offset)
    configured = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if isinstance(configured, int) and configured > 0:
        limits.append(configured)
    return min(limits, default=None)


def capacity(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Number of tokens after which a text must be truncated.

    The model's or the tokenizer's limit, 512 where neither has one. The tokenizer of a fine-tuned model has the limit of its
    training.
    """
    limit = tokenizer.model_max_length if tokenizer.model_max_length < _NO_LIMIT else None
    return min((n for n in (limit, _positions(model)) if n is not None), default=_DEFAULT_LENGTH)


def token_limit(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, requested: int | None, *, pair: bool = False
) -> int:
    """Number of tokens a text, or a pair of them, is truncated to in training.

    The requested number, else the capacity, 512 at most. A request may exceed the tokenizer's limit, which an earlier run may
    have set to its own; it is then raised, in place.

    Raises: ConfigError if the model has fewer positions than requested, or the special tokens leave no room for text.
    """
    if requested is None:
        limit = min(capacity(model, tokenizer), _DEFAULT_LENGTH)
        _require_room(limit, tokenizer, pair=pair)
        return limit
    positions = _positions(model)
    if positions is not None and requested > positions:
        raise ConfigError(f"--max_seq_length {requested}: this checkpoint holds {positions} tokens.")
    _require_room(requested, tokenizer, pair=pair)
    tokenizer.model_max_length = max(tokenizer.model_max_length, requested)
    return requested


def _require_room(limit: int, tokenizer: PreTrainedTokenizerBase, *, pair: bool) -> None:
    """Raises: ConfigError where beside the special tokens no token fits, of a pair none of each text."""
    special = tokenizer.num_special_tokens_to_add(pair=pair)
    least = special + (2 if pair else 1)
    if limit < least:
        texts = "either text of a pair" if pair else "the text"
        raise ConfigError(
            f"--max_seq_length {limit}: {special} special tokens leave no room for {texts}; it must be at least {least}."
        )


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Numbers of trained parameters and of all parameters."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, is_trained in sizes if is_trained), sum(n for n, _ in sizes)
