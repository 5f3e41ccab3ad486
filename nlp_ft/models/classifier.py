"""Checkpoints as classifiers: with the problem's own labels, a pad token, the dropout asked for, and a head that fits."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, PreTrainedModel

from nlp_ft.config import ModelArguments
from nlp_ft.errors import ConfigError, ModelError
from nlp_ft.models.checkpoint import check_directory, grow_embeddings, one_line, open_classifier, quiet
from nlp_ft.models.heads import final_linear
from nlp_ft.models.layers import pools_by_layer
from nlp_ft.models.lora import GGUF, add_lora, merged
from nlp_ft.models.pooling import lacks_dense, pass_through
from nlp_ft.models.tokenizer import load_tokenizer

__all__ = [
    "add_lora",
    "capacity",
    "check_directory",
    "load_classifier",
    "load_tokenizer",
    "merged",
    "one_line",
    "quiet",
    "set_dropout",
    "token_limit",
    "trainable_share",
]

_NO_LIMIT = 100_000  # tokenizers without a limit of their own say 1e30
_DEFAULT_LENGTH = 512


def load_classifier(
    args: ModelArguments, tokenizer: Any, problem_type: str, labels: Sequence[str]
) -> tuple[PreTrainedModel, list[str], bool]:
    """The checkpoint as a float32 classifier with these labels (an empty list: regression, one output).

    Returns the model, what there is to say about it, and whether its head is a trained one that fits these labels (its rows
    are then put in the order of `labels`); any other last layer is initialised anew, even where its size would fit.

    Raises: ModelError if encoder weights are missing or do not fit; ConfigError for a dropout it cannot have.
    """
    name = args.model_name_or_path
    place = check_directory(name, args.gguf_file)
    hub: dict[str, Any] = {"revision": args.model_revision, "cache_dir": args.cache_dir}
    gguf = {"gguf_file": args.gguf_file} if args.gguf_file else {}
    with quiet(), one_line(name, "configuration"):
        named = {} if args.config_name else gguf
        source = AutoConfig.from_pretrained(args.config_name or place, trust_remote_code=False, **named, **hub)
    config = _config_for(source, tokenizer, problem_type, labels)
    if args.dropout is not None:
        set_dropout(config, args.dropout)
    model, info = open_classifier(
        place, config=config, attn_implementation=args.attn_implementation, ignore_mismatched_sizes=True, **gguf, **hub
    )
    notes = _check_loaded(name, model, info, args.ignore_mismatched_sizes)
    if pools_by_layer(model) and lacks_dense(model, info["missing_keys"]):  # a body that was saved without its head
        pass_through(model)
    grow_embeddings(model, len(tokenizer))
    _set_pad(model.config, tokenizer.pad_token_id)
    model.name_or_path = (
        str(Path(place).resolve()) if Path(place).is_dir() else place
    )  # adapters look there for their base
    if gguf:
        setattr(model.config, GGUF, args.gguf_file)
    said, kept = _settle_head(model, source, info, problem_type, labels)
    return model, [*notes, *said], kept


def _config_for(source: Any, tokenizer: Any, problem_type: str, labels: Sequence[str]) -> Any:
    config = copy.deepcopy(source)
    config.num_labels = max(len(labels), 1)
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}
    config.problem_type = problem_type
    if tokenizer.pad_token_id < config.get_text_config().vocab_size:  # else once the embeddings have grown
        _set_pad(config, tokenizer.pad_token_id)
    for name in (
        "use_cache",
        "use_mems_eval",
    ):  # a classifier reads a text once; a pipeline cannot split XLNet's memories
        if hasattr(config, name):
            setattr(config, name, False)
    return config


def _set_pad(config: Any, pad_token_id: int) -> None:
    """Pooling in decoders goes by the configuration's pad token: it must be the tokenizer's."""
    config.pad_token_id = config.get_text_config().pad_token_id = pad_token_id


def set_dropout(config: Any, value: float) -> None:
    """Set every dropout probability a configuration holds, its head's included. Raises: ConfigError if it holds none."""
    text = config.get_text_config()
    held = {key: old for key, old in text.to_dict().items() if "dropout" in key or key.endswith("_pdrop")}
    numbers = [key for key, old in held.items() if isinstance(old, int | float) and not isinstance(old, bool)]
    if not numbers:
        raise ConfigError(f"--dropout: a {config.model_type} checkpoint has no dropout to set.")
    for key in (*numbers, *(key for key, old in held.items() if old is None)):  # None: the head's follows another one
        setattr(text, key, value)


def _check_loaded(name: str, model: PreTrainedModel, info: dict[str, Any], accept: bool) -> list[str]:
    """Only the head may be new. A head that is silently random, or an encoder that is, would train to nonsense.

    Returns: a note if whole layers of the checkpoint have no place in the model.
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
    left = sorted(key for key in info["unexpected_keys"] if any(part.isdigit() for part in key.split(".")))
    if left:
        return [f"checkpoint: {len(left)} of its weights have no place in this configuration, such as {left[0]}"]
    return []


def _settle_head(
    model: PreTrainedModel, source: Any, info: dict[str, Any], problem_type: str, labels: Sequence[str]
) -> tuple[list[str], bool]:
    """Keep a trained head whose labels are the same, in our order; start the last layer of any other one anew, and say so.

    Dense layers before the last one stay as they are in the checkpoint, as BERT's pooler does: they carry features and no
    label's meaning, and the last layer is what a probe then fits to them.
    """
    name, linear = final_linear(model)
    old = [str(source.id2label.get(i, i)) for i in range(source.num_labels)]
    if any(key[0].startswith(f"{name}.") for key in info["mismatched_keys"]):
        wanted = max(len(labels), 1)
        return [f"head: started anew; the checkpoint's had {len(old)} outputs, this problem {wanted}"], False
    if any(key.startswith(f"{name}.") for key in info["missing_keys"]):
        return [], False
    kind = source.problem_type or ("regression" if source.num_labels == 1 else "single_label_classification")
    if kind == problem_type == "regression" and source.num_labels == 1:
        return ["head: the checkpoint's own regression head goes on training"], True
    if kind == problem_type and sorted(old) == sorted(labels):
        _reorder(linear, [old.index(label) for label in labels])
        return ["head: the checkpoint's own goes on training; its labels are these"], True
    with torch.no_grad():
        nn.init.normal_(linear.weight, std=getattr(model.config, "initializer_range", 0.02))
        if linear.bias is not None:
            linear.bias.zero_()
    if kind != problem_type:
        return [f"head: started anew; the checkpoint's is for {kind}, this problem is {problem_type}"], False
    more = ", ..." if len(old) > 5 else ""
    return [f"head: started anew; the checkpoint's labels are others ({', '.join(old[:5])}{more})"], False


@torch.no_grad()
def _reorder(linear: nn.Linear, rows: list[int]) -> None:
    linear.weight.copy_(linear.weight[rows].clone())
    if linear.bias is not None:
        linear.bias.copy_(linear.bias[rows].clone())


def _positions(model: PreTrainedModel) -> int | None:
    """Tokens the model has positions for; None where they are relative and without end (XLNet says -1)."""
    holds = []
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            offset = 0 if module.padding_idx is None else module.padding_idx + 1  # RoBERTa counts from there
            holds.append(module.num_embeddings - offset)
    said = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if isinstance(said, int) and said > 0:
        holds.append(said)
    return min(holds, default=None)


def capacity(model: PreTrainedModel, tokenizer: Any) -> int:
    """Tokens after which a text must be cut: the model's or the tokenizer's limit, 512 where neither has one.

    The tokenizer of a fine-tuned model says where its training cut.
    """
    own = tokenizer.model_max_length if tokenizer.model_max_length < _NO_LIMIT else None
    return min((n for n in (own, _positions(model)) if n is not None), default=_DEFAULT_LENGTH)


def token_limit(model: PreTrainedModel, tokenizer: Any, asked: int | None) -> int:
    """Tokens a text is cut after in training: what was asked, else the capacity, 512 at most.

    What is asked may exceed the tokenizer's own limit, which is raised then, in place: an earlier run set it to its own.

    Raises: ConfigError if more is asked than the model has positions for.
    """
    if asked is None:
        return min(capacity(model, tokenizer), _DEFAULT_LENGTH)
    positions = _positions(model)
    if positions is not None and asked > positions:
        raise ConfigError(f"--max_seq_length {asked}: this checkpoint holds {positions} tokens.")
    tokenizer.model_max_length = max(tokenizer.model_max_length, asked)
    return asked


def trainable_share(model: nn.Module) -> tuple[int, int]:
    """(trained parameters, all parameters)."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, trains in sizes if trains), sum(n for n, _ in sizes)
