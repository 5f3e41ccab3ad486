"""LoRA: adapters on the encoder, with the whole head trained and saved."""

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

GGUF_KEY = "nlp_ft_gguf_file"  # key in an adapter's config.json: the GGUF file of its base


def add_lora(
    model: PreTrainedModel, args: LoraArguments, head: list[str] | None = None, full_modules: Sequence[str] = ()
) -> PeftModel:
    """Add adapters to the encoder; the whole head trains in full and is saved.

    peft by itself saves modules named `classifier` or `score` only: the pooler of DeBERTa-v2, the dense layer of ModernBERT's
    head or XLNet's summary would stay random, frozen and unsaved.

    head: names of its modules; those of a classifier where None, and else the model is not treated as one. full_modules:
    layers that train in full and are saved, too, such as those that start at random, which adapters could not make up for.

    Raises: ConfigError if one of --lora_target_modules names no layer.
    """
    task = TaskType.SEQ_CLS if head is None else None
    head = head_modules(model) if head is None else head
    all_linear = args.lora_target_modules == ["all-linear"]
    if not all_linear:
        _check_targets(model, args.lora_target_modules, head)
    config = LoraConfig(
        task_type=task,
        r=args.lora_r,
        lora_alpha=args.lora_alpha,
        lora_dropout=args.lora_dropout,
        target_modules="all-linear" if all_linear else args.lora_target_modules,
        modules_to_save=[*head, *full_modules],
        exclude_modules=[*(head if task is None else []), *_linear_layers(model, full_modules)] or None,
        use_dora=args.use_dora,
        use_rslora=args.use_rslora,
        revision=getattr(model.config, "_commit_hash", None),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about GPT-2's transposed layers and the like, which need no action
        wrapped = get_peft_model(model, config)
    assert isinstance(wrapped, PeftModel)
    return wrapped


def _linear_layers(model: PreTrainedModel, modules: Sequence[str]) -> list[str]:
    """Names of the layers in these modules that could get an adapter."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and inside(name, modules)
    ]


def _check_targets(model: PreTrainedModel, targets: list[str], head: list[str]) -> None:
    """Check that each target names a layer.

    peft accepts a list of which a single name fits, and ignores a misspelt one silently.

    Raises: ConfigError.
    """
    heads = set(_linear_layers(model, head))
    layers = [name for name in _linear_layers(model, [""]) if name not in heads]
    for target in targets:
        if not any(f".{layer}".endswith(f".{target}") for layer in layers):
            known = ", ".join(sorted({layer.rpartition(".")[2] for layer in layers}))
            raise ConfigError(
                f"--lora_target_modules {target}: no layer has this name; there are {known} (or all-linear)."
            )


def inside(key: str, modules: Sequence[str]) -> bool:
    """Whether a parameter belongs to one of these modules ('': the model itself)."""
    return any(key == module or not module or key.startswith(f"{module}.") for module in modules)


def merged(model: nn.Module) -> PreTrainedModel:
    """Merge adapters into the model and return the plain classifier.

    The model itself is changed; the trained head takes the place of the old one.
    """
    plain = model.merge_and_unload() if isinstance(model, PeftModel) else model
    assert isinstance(plain, PreTrainedModel)
    vars(plain.config).pop(GGUF_KEY, None)  # the weights no longer come from the GGUF file
    return plain


def save_adapter(model: nn.Module, directory: Path) -> bool:
    """Save adapter, head and the classifier's configuration.

    peft's files alone hold neither the number of labels nor their names.

    Returns: False, and nothing is saved, if the model has no adapters.
    """
    if not isinstance(model, PeftModel):
        return False
    model.save_pretrained(str(directory), save_embedding_layers=False)
    (directory / "README.md").unlink(missing_ok=True)  # peft's empty template
    base = model.get_base_model()
    assert isinstance(base, PreTrainedModel)
    base.config.save_pretrained(directory)
    return True
