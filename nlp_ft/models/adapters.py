"""Adapter directories: merged into their base, or several switched over one base."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from peft.utils import ModulesToSaveWrapper
from safetensors import safe_open
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from nlp_ft.errors import ModelError
from nlp_ft.models.checkpoint import as_model_error, check_directory, grow_embeddings, open_classifier, quiet
from nlp_ft.models.layers import unwrapped
from nlp_ft.models.lora import GGUF_KEY, inside, merged
from nlp_ft.models.pooling import POOLING_KEY, pool_by_mean
from nlp_ft.models.pooling_file import HubOptions


def load_adapter_directory(directory: Path) -> PreTrainedModel:
    """Load a directory saved with --save_adapter_only as a merged classifier.

    The base is the one that adapter_config.json names, the labels are the directory's.

    Raises: ModelError if the base cannot be loaded, or base and adapter together lack weights of the model.
    """
    return merged(_load_on_base(directory, "default"))


def loads_by_peft(directory: Path) -> bool:
    """Whether plain peft loads the adapters of a directory as they were trained.

    Not where nlp_ft changed the pooling of the base beneath them, or the base is a GGUF file: peft builds it by its own
    configuration alone.
    """
    config, settings = _load_config(directory), adapter_settings(directory)
    if hasattr(config, GGUF_KEY):
        return False
    name = str(settings["base_model_name_or_path"])
    with quiet(), as_model_error(name, "configuration"):
        base = AutoConfig.from_pretrained(name, revision=settings.get("revision"), trust_remote_code=False)
    return all(getattr(config, key, None) == getattr(base, key, None) for key in (POOLING_KEY, "classifier_pooling"))


class SwitchableAdapters:
    """Several adapter directories over one base, one in use at a time.

    directories: by the names to use them by. Heads may differ in labels and problem. Attributes: model (to be called), configs
    (by name). Raises: ModelError as `load_adapter_directory`, and for adapters over different bases.
    """

    def __init__(self, directories: Mapping[str, Path]) -> None:
        (first, reference), *others = directories.items()
        self.model = _load_on_base(reference, first)
        self.configs = {first: _load_config(reference)}
        signature = _base_signature(reference, self.configs[first])
        for name, directory in others:
            config = _load_config(directory)
            if _base_signature(directory, config) != signature:
                raise ModelError(
                    f"{directory} is an adapter over another base than {reference}, or over that base changed in another way "
                    "(pad token, pooling); adapters that are to be switched need one base."
                )
            _resize_heads(self.model, config.num_labels)
            _add(self.model, directory, name)
            self.base.config.num_labels = config.num_labels
            self.configs[name] = config
        self.use(first)

    @property
    def base(self) -> PreTrainedModel:
        """The base with the adapters in it."""
        base = self.model.get_base_model()
        assert isinstance(base, PreTrainedModel)
        return base

    def use(self, name: str) -> nn.Linear:
        """Switch to an adapter and return its last layer."""
        self.model.set_adapter(name)
        config, shared = self.configs[name], self.base.config
        shared.id2label, shared.label2id, shared.problem_type = config.id2label, config.label2id, config.problem_type
        layers = [
            module
            for module_name, module in self.base.named_modules()
            if f"modules_to_save.{name}" in module_name and isinstance(module, nn.Linear)
        ]
        return next(module for module in reversed(layers) if module.out_features == config.num_labels)


def adapter_settings(directory: Path) -> dict[str, Any]:
    """Read adapter_config.json of a LoRA adapter.

    Raises: ModelError for anything else.
    """
    with as_model_error(str(directory), "adapter_config.json"):
        settings = json.loads((directory / "adapter_config.json").read_text(encoding="utf-8"))
        kind, _ = settings["peft_type"], settings["base_model_name_or_path"]
    if kind != "LORA" or not (directory / "adapter_model.safetensors").is_file():
        raise ModelError(f"{directory}: wanted a LoRA adapter with adapter_model.safetensors, got one of type {kind}.")
    if (directory / "model.safetensors").exists():
        raise ModelError(
            f"{directory} holds both a whole model and adapter_config.json; remove the one that is not meant."
        )
    return settings


def _load_config(directory: Path) -> Any:
    with quiet(), as_model_error(str(directory), "configuration"):
        return AutoConfig.from_pretrained(directory, trust_remote_code=False)


def _load_on_base(directory: Path, adapter: str) -> PeftModel:
    """Load a base with an adapter on it, not merged."""
    settings = adapter_settings(directory)
    name = settings["base_model_name_or_path"] or ""
    base, missing = _load_base(directory, name, settings.get("revision"), _load_config(directory))
    model, incomplete = _add(base, directory, adapter)
    unsaved = [key for key in missing if not inside(key, settings.get("modules_to_save") or [])]
    if unsaved or incomplete:
        raise ModelError(
            f"{directory}: neither it nor its base {name} holds {[*unsaved, *incomplete][0]}; it would be random."
        )
    return model


def _add(model: PreTrainedModel | PeftModel, directory: Path, adapter: str) -> tuple[PeftModel, list[str]]:
    """Put an adapter on a base, or beside another adapter.

    Returns: the model, and the names of weights that are missing in the adapter's file.
    """
    with quiet(), as_model_error(str(directory), "adapter"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about missing weights, which are checked here
        if isinstance(model, PeftModel):
            model.load_adapter(str(directory), adapter)
        else:
            model = PeftModel.from_pretrained(model, str(directory), adapter)
        with safe_open(directory / "adapter_model.safetensors", framework="pt") as file:
            saved = set(file.keys())
        wanted = get_peft_model_state_dict(model, adapter_name=adapter, save_embedding_layers=False).keys()
    return model, sorted(wanted - saved)


def _base_signature(directory: Path, config: PreTrainedConfig) -> tuple[object, ...]:
    """Base, revision and shape that adapters over one base must share."""
    settings = adapter_settings(directory)
    name = settings["base_model_name_or_path"] or ""
    base = str(Path(name).resolve()) if Path(name).is_dir() else name
    text_config = config.get_text_config()
    return (
        base,
        settings.get("revision"),
        text_config.num_hidden_layers,
        text_config.vocab_size,
        text_config.pad_token_id,
    )


@torch.no_grad()
def _resize_heads(model: PeftModel, classes: int) -> None:
    """Give the head that new adapters copy its shape from `classes` outputs.

    peft copies the head of the base for each adapter, so its shape must be the next adapter's.
    """
    before = unwrapped(model).config.num_labels
    for wrapper in [module for module in model.modules() if isinstance(module, ModulesToSaveWrapper)]:
        head = wrapper.original_module
        if isinstance(head, nn.Linear) and head.out_features == before:
            wrapper.original_module = _linear(head, classes)
            continue
        for name, module in list(head.named_modules()):
            if name and isinstance(module, nn.Linear) and module.out_features == before:
                parent, _, child = name.rpartition(".")
                setattr(head.get_submodule(parent), child, _linear(module, classes))


def _linear(like: nn.Linear, classes: int) -> nn.Linear:
    return nn.Linear(like.in_features, classes, like.bias is not None, like.weight.device, like.weight.dtype)


def _load_base(
    directory: Path, name: str, revision: str | None, config: PreTrainedConfig
) -> tuple[PreTrainedModel, list[str]]:
    """Load the base as it was when the adapters were put on it.

    Returns: the base, and the names of the weights that its files lack.
    """
    gguf = {"gguf_file": getattr(config, GGUF_KEY)} if getattr(config, GGUF_KEY, None) else {}
    try:
        source = check_directory(name, gguf.get("gguf_file"))
    except ModelError as error:
        raise ModelError(
            f"{directory}: its base checkpoint cannot be opened (base_model_name_or_path in adapter_config.json; if it was "
            f"moved, write its new path there): {error}"
        ) from None
    options: HubOptions = {"revision": revision or "main"}
    with quiet(), as_model_error(name, "configuration"):
        base_config = AutoConfig.from_pretrained(source, trust_remote_code=False, **gguf, **options)
    size, pad = config.vocab_size, config.pad_token_id
    config.vocab_size = base_config.vocab_size
    if pad >= base_config.vocab_size:  # a row that the base does not have yet
        config.pad_token_id = base_config.pad_token_id
    adds_pooling_layer = getattr(config, POOLING_KEY, None) == "mean" != getattr(base_config, POOLING_KEY, None)
    if adds_pooling_layer:  # the pooling layer was added to the base, and is added again
        delattr(config, POOLING_KEY)
        config.num_hidden_layers = base_config.num_hidden_layers
    base, info = open_classifier(source, config=config, ignore_mismatched_sizes=True, **gguf, **options)
    grow_embeddings(base, size)
    base.config.pad_token_id = pad
    if adds_pooling_layer:
        pool_by_mean(base)
    return base, sorted([*info["missing_keys"], *(key[0] for key in info["mismatched_keys"])])
