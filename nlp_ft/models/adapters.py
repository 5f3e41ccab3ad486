"""Adapter directories opened again: merged into their base, or several over one base and switched without loading anew."""

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
from transformers import AutoConfig, PreTrainedModel

from nlp_ft.errors import ModelError
from nlp_ft.models.checkpoint import check_directory, grow_embeddings, one_line, open_classifier, quiet
from nlp_ft.models.lora import GGUF, inside, merged
from nlp_ft.models.pooling import MARK, pool_by_mean


def load_adapter_directory(directory: Path) -> PreTrainedModel:
    """A directory saved with --save_adapter_only as a merged classifier: base from adapter_config.json, labels from its own.

    Raises: ModelError if the base cannot be loaded, or base and adapter together lack a part of the model.
    """
    return merged(_on_base(directory, "default"))


class OverOneBase:
    """Several adapter directories over one base, of which one at a time is in use. `model`: to be called; `configs` by name.

    directories: by the names to use them by. Heads may differ in labels and problem. Raises: ModelError as
    `load_adapter_directory`, and for adapters over different bases.
    """

    def __init__(self, directories: Mapping[str, Path]) -> None:
        (first, start), *others = directories.items()
        self.model = _on_base(start, first)
        self.configs = {first: _own_config(start)}
        foundation = _foundation(start, self.configs[first])
        for name, directory in others:
            config = _own_config(directory)
            if _foundation(directory, config) != foundation:
                raise ModelError(
                    f"{directory} is an adapter over another base than {start}, or over that base changed in another way "
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
        """Switch to an adapter. Returns: its last layer."""
        self.model.set_adapter(name)
        own, shared = self.configs[name], self.base.config
        shared.id2label, shared.label2id, shared.problem_type = own.id2label, own.label2id, own.problem_type
        linear = [
            module
            for place, module in self.base.named_modules()
            if f"modules_to_save.{name}" in place and isinstance(module, nn.Linear)
        ]
        return next(one for one in reversed(linear) if one.out_features == own.num_labels)


def adapter_settings(directory: Path) -> dict[str, Any]:
    """adapter_config.json of a LoRA adapter. Raises: ModelError for anything else."""
    with one_line(str(directory), "adapter_config.json"):
        settings = json.loads((directory / "adapter_config.json").read_text(encoding="utf-8"))
        kind, _ = settings["peft_type"], settings["base_model_name_or_path"]
    if kind != "LORA" or not (directory / "adapter_model.safetensors").is_file():
        raise ModelError(f"{directory}: wanted a LoRA adapter with adapter_model.safetensors, got one of type {kind}.")
    if (directory / "model.safetensors").exists():
        raise ModelError(
            f"{directory} holds both a whole model and adapter_config.json; remove the one that is not meant."
        )
    return settings


def _own_config(directory: Path) -> Any:
    with quiet(), one_line(str(directory), "configuration"):
        return AutoConfig.from_pretrained(directory, trust_remote_code=False)


def _on_base(directory: Path, adapter: str) -> PeftModel:
    """Base and adapter, not merged."""
    settings = adapter_settings(directory)
    name = settings["base_model_name_or_path"] or ""
    base, absent = _load_base(directory, name, settings.get("revision"), _own_config(directory))
    model, lost = _add(base, directory, adapter)
    new = [key for key in absent if not inside(key, settings.get("modules_to_save") or [])]
    if new or lost:
        raise ModelError(f"{directory}: neither it nor its base {name} holds {[*new, *lost][0]}; it would be random.")
    return model


def _add(model: Any, directory: Path, adapter: str) -> tuple[PeftModel, list[str]]:
    """Put an adapter on a base, or beside another one. Returns: the model, and what the adapter's file lacks."""
    with quiet(), one_line(str(directory), "adapter"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights that are missing, which are looked for here
        if isinstance(model, PeftModel):
            model.load_adapter(str(directory), adapter)
        else:
            model = PeftModel.from_pretrained(model, str(directory), adapter)
        with safe_open(directory / "adapter_model.safetensors", framework="pt") as file:
            held = set(file.keys())
        wanted = get_peft_model_state_dict(model, adapter_name=adapter, save_embedding_layers=False).keys()
    return model, sorted(wanted - held)


def _foundation(directory: Path, config: Any) -> tuple[Any, ...]:
    """What adapters over one base must have in common."""
    settings = adapter_settings(directory)
    name = settings["base_model_name_or_path"] or ""
    base = str(Path(name).resolve()) if Path(name).is_dir() else name
    shape = config.get_text_config()
    return base, settings.get("revision"), shape.num_hidden_layers, shape.vocab_size, shape.pad_token_id


@torch.no_grad()
def _resize_heads(model: PeftModel, classes: int) -> None:
    """Give the head that new adapters copy its shape from as many outputs as the next one's has."""
    config: Any = model.get_base_model().config
    before = config.num_labels
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


def _load_base(directory: Path, name: str, revision: str | None, config: Any) -> tuple[PreTrainedModel, list[str]]:
    """The base as it was when the adapters were put on it, and the names of the weights it does not hold itself."""
    gguf = {"gguf_file": getattr(config, GGUF)} if getattr(config, GGUF, None) else {}
    try:
        place = check_directory(name, gguf.get("gguf_file"))
    except ModelError as error:
        raise ModelError(
            f"{directory}: its base checkpoint cannot be opened (base_model_name_or_path in adapter_config.json; if it was "
            f"moved, write its new place there): {error}"
        ) from None
    options: dict[str, Any] = {"revision": revision or "main"}
    with quiet(), one_line(name, "configuration"):
        own = AutoConfig.from_pretrained(place, trust_remote_code=False, **gguf, **options)
    size, pad = config.vocab_size, config.pad_token_id
    config.vocab_size = own.vocab_size
    if pad >= own.vocab_size:  # a row that the base does not have yet
        config.pad_token_id = own.pad_token_id
    pools = getattr(config, MARK, None) == "mean" != getattr(own, MARK, None)
    if pools:  # the layer that says so was added to the base, and is added again
        delattr(config, MARK)
        config.num_hidden_layers = own.num_hidden_layers
    base, info = open_classifier(place, config=config, ignore_mismatched_sizes=True, **gguf, **options)
    grow_embeddings(base, size)
    base.config.pad_token_id = pad
    if pools:
        pool_by_mean(base)
    return base, sorted([*info["missing_keys"], *(key[0] for key in info["mismatched_keys"])])
