"""LoRA: adapters on the encoder, the whole head trained beside them, saved, opened again. The only file that imports peft."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, TaskType, get_peft_model, get_peft_model_state_dict
from safetensors import safe_open
from torch import nn
from transformers import AutoConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from nlp_ft.config import LoraArguments
from nlp_ft.errors import ConfigError, ModelError
from nlp_ft.heads import head_modules
from nlp_ft.opening import check_directory, grow_embeddings, one_line, open_classifier, quiet
from nlp_ft.pooling import MARK, pool_by_mean

GGUF = "nlp_ft_gguf_file"  # the key in an adapter's config.json that says which file of its base to read


def add_lora(model: PreTrainedModel, args: LoraArguments, head: list[str] | None = None) -> PeftModel:
    """Adapters on the encoder; every module of the head trains in full and is saved.

    head: names of its modules; a classifier's where not given, and else the model is not taken for one.

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
        modules_to_save=head,
        exclude_modules=head if kind is None else None,
        use_dora=args.use_dora,
        use_rslora=args.use_rslora,
        revision=getattr(model.config, "_commit_hash", None),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that GPT-2's layers are transposed, and the like; nothing to act on
        wrapped = get_peft_model(model, config)
    assert isinstance(wrapped, PeftModel)
    return wrapped


def _check_targets(model: PreTrainedModel, targets: list[str], head: list[str]) -> None:
    """Each name must fit: peft is content if one of several does, and leaves a misspelt one out in silence."""
    layers = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and not _inside(name, head)
    ]
    for target in targets:
        if not any(f".{layer}".endswith(f".{target}") for layer in layers):
            known = ", ".join(sorted({layer.rpartition(".")[2] for layer in layers}))
            raise ConfigError(
                f"--lora_target_modules {target}: no layer has this name; there are {known} (or all-linear)."
            )


def _inside(key: str, modules: list[str]) -> bool:
    return any(key == module or key.startswith(f"{module}.") for module in modules)


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


def load_adapter_directory(directory: Path) -> PreTrainedModel:
    """A directory saved with --save_adapter_only as a merged classifier: base from adapter_config.json, labels from its own.

    Raises: ModelError if the base cannot be loaded, or base and adapter together lack a part of the model.
    """
    with one_line(str(directory), "adapter_config.json"):
        settings = json.loads((directory / "adapter_config.json").read_text(encoding="utf-8"))
        kind, name = settings["peft_type"], settings["base_model_name_or_path"] or ""
    if kind != "LORA" or not (directory / "adapter_model.safetensors").is_file():
        raise ModelError(f"{directory}: wanted a LoRA adapter with adapter_model.safetensors, got one of type {kind}.")
    if (directory / "model.safetensors").exists():
        raise ModelError(
            f"{directory} holds both a whole model and adapter_config.json; remove the one that is not meant."
        )
    with quiet(), one_line(str(directory), "configuration"):
        config = AutoConfig.from_pretrained(directory, trust_remote_code=False)
    base, absent = _load_base(directory, name, settings.get("revision"), config)
    with quiet(), one_line(str(directory), "adapter"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights that are missing, which are looked for here
        model = PeftModel.from_pretrained(base, str(directory))
        with safe_open(directory / "adapter_model.safetensors", framework="pt") as file:
            held = set(file.keys())
        lost = sorted(get_peft_model_state_dict(model, save_embedding_layers=False).keys() - held)
    new = [key for key in absent if not _inside(key, settings.get("modules_to_save") or [])]
    if new or lost:
        raise ModelError(f"{directory}: neither it nor its base {name} holds {[*new, *lost][0]}; it would be random.")
    return merged(model)


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
