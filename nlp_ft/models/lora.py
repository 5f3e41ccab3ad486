"""LoRA: adapters on the encoder, the whole head trained beside them, saved, opened again. The only file that imports peft."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from nlp_ft.config import LoraArguments
from nlp_ft.errors import ConfigError
from nlp_ft.models.heads import head_modules

GGUF = "nlp_ft_gguf_file"  # the key in an adapter's config.json that says which file of its base to read


def add_lora(
    model: PreTrainedModel, args: LoraArguments, head: list[str] | None = None, whole: Sequence[str] = ()
) -> PeftModel:
    """Adapters on the encoder; every module of the head trains in full and is saved.

    head: names of its modules; a classifier's where not given, and else the model is not taken for one. whole: layers that
    train in full and are saved likewise, as those do that start at random, which adapters could not make up for.

    peft by itself saves modules named `classifier` or `score` only: the pooler of DeBERTa-v2, the dense layer of ModernBERT's
    head or XLNet's summary would stay random, frozen and unsaved.

    Raises: ConfigError if one of --lora_target_modules names no layer.
    """
    kind = TaskType.SEQ_CLS if head is None else None
    head = head_modules(model) if head is None else head
    all_linear = args.lora_target_modules == ["all-linear"]
    if not all_linear:
        _check_targets(model, args.lora_target_modules, head)
    config = LoraConfig(
        task_type=kind,
        r=args.lora_r,
        lora_alpha=args.lora_alpha,
        lora_dropout=args.lora_dropout,
        target_modules="all-linear" if all_linear else args.lora_target_modules,
        modules_to_save=[*head, *whole],
        exclude_modules=[*(head if kind is None else []), *_linear_layers(model, whole)] or None,
        use_dora=args.use_dora,
        use_rslora=args.use_rslora,
        revision=getattr(model.config, "_commit_hash", None),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that GPT-2's layers are transposed, and the like; nothing to act on
        wrapped = get_peft_model(model, config)
    assert isinstance(wrapped, PeftModel)
    return wrapped


def _linear_layers(model: PreTrainedModel, within: Sequence[str]) -> list[str]:
    """Names of what could get an adapter in these modules."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and inside(name, within)
    ]


def _check_targets(model: PreTrainedModel, targets: list[str], head: list[str]) -> None:
    """Each name must fit: peft is content if one of several does, and leaves a misspelt one out in silence."""
    heads = set(_linear_layers(model, head))
    layers = [name for name in _linear_layers(model, [""]) if name not in heads]
    for target in targets:
        if not any(f".{layer}".endswith(f".{target}") for layer in layers):
            known = ", ".join(sorted({layer.rpartition(".")[2] for layer in layers}))
            raise ConfigError(
                f"--lora_target_modules {target}: no layer has this name; there are {known} (or all-linear)."
            )


def inside(key: str, modules: Sequence[str]) -> bool:
    """Whether a parameter is of one of these modules; the empty name is that of the model itself."""
    return any(key == module or not module or key.startswith(f"{module}.") for module in modules)


def merged(model: nn.Module) -> PreTrainedModel:
    """The plain classifier, made of the given model itself: adapters added into their layers, the trained head in its place."""
    plain = model.merge_and_unload() if isinstance(model, PeftModel) else model
    assert isinstance(plain, PreTrainedModel)
    vars(plain.config).pop(GGUF, None)  # the weights are the model's own from here on
    return plain


def save_adapter(model: nn.Module, directory: Path) -> bool:
    """Adapter, head and the classifier's configuration: peft's own files hold neither label count nor names.

    Returns: False, and nothing is saved, if the model has no adapters.
    """
    if not isinstance(model, PeftModel):
        return False
    model.save_pretrained(str(directory), save_embedding_layers=False)
    (directory / "README.md").unlink(missing_ok=True)  # peft's template, all of it to be filled in
    base = model.get_base_model()
    assert isinstance(base, PreTrainedModel)
    base.config.save_pretrained(directory)
    return True
