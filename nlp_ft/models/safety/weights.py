"""Checks of a checkpoint by its small files and weight headers, before loading.

Ensured: no pickle is opened, no code that a file names is imported, nothing outside the directory is read, and no more memory
is allocated than the size of the weights explains. Not ensured: slow patterns in tokenizer.json or an adapter's
target_modules, the time that a large but honest model takes, and weights that are intact yet trained to mislead.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from nlp_ft.errors import ModelError
from nlp_ft.models.heads import final_linear
from nlp_ft.models.safety.config_files import read_json, vet_config, vet_index, vet_settings

__all__ = ["read_json", "vet", "vet_config", "vet_index", "vet_settings", "vet_weights"]

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
_TRAINER_FILES = ("training_args", "optimizer", "scheduler", "scaler", "rng_state")  # files of Trainer's checkpoints
_OTHER_WEIGHTS = ("*.gguf", "*.onnx", "*.xml")  # none of them runs code; each has its own loader
_MIN_BYTES_PER_PARAMETER = 0.25  # no format stores a parameter in less than two bits
_MIN_PARAMETERS_CHECKED = 50_000_000  # fewer need too little memory to do harm
_MAGIC_BYTES = {
    b"PK\x03\x04": "a zip file, as torch.save writes",
    b"\x80": "a pickle",
    b"version https://git-lfs": "a Git LFS pointer",
}


class _Outline(NamedTuple):
    """Files, shapes by name and empty model of a checkpoint (None if not built)."""

    files: list[Path]
    shapes: dict[str, list[int]]
    model: PreTrainedModel | None


def vet(directory: Path, *, adapter: bool = False, fine_tuned: bool = True) -> None:
    """Refuse a directory that is hostile, broken, or no fine-tuned classifier.

    Of the weights only the headers are read.

    adapter: the directory must hold an adapter over another checkpoint, which is vetted when that is opened; else it must hold
    none. fine_tuned: it must hold a head, with as many rows as it has labels; a checkpoint to start from need not.

    Raises: ModelError, which names file and field.
    """
    vet_settings(directory)
    outline = _vet_weights(directory, adapter)
    if fine_tuned and (directory / "config.json").is_file():
        _vet_labels(directory / "config.json")
        _vet_head(directory, outline, adapter)


def vet_weights(directory: Path) -> None:
    """Check a whole checkpoint's weights by names, first bytes and headers.

    The size of the model that would be built of them is checked, too.

    Raises: ModelError.
    """
    _vet_weights(directory, adapter=False)


def _vet_weights(directory: Path, adapter: bool) -> _Outline:
    if not adapter and (directory / "adapter_config.json").is_file():
        raise ModelError(
            f"{directory} is an adapter over another checkpoint (adapter_config.json); wanted a whole checkpoint, such as a "
            "run saved without --save_adapter_only."
        )
    if adapter and (directory / "model.safetensors").is_file():
        raise ModelError(
            f"{directory} holds both a whole model and adapter_config.json; remove the one that is not meant."
        )
    files = _weight_files(directory, adapter)
    shapes = {name: shape for file in files for name, shape in _header(directory, file).items()}
    config = _config_of(directory) if files else None
    outline = _Outline(files, shapes, None if config is None else _empty_model(config))
    if not adapter:
        _vet_count(directory, outline)
    return outline


def _weight_files(directory: Path, adapter: bool) -> list[Path]:
    """Files that would be loaded; none where another kind of weights is there.

    Raises: ModelError for pickles and bad indices.
    """
    shards = {path.name: vet_index(path) for path in sorted(directory.glob("*.safetensors.index.json"))}
    config = directory / "config.json"
    named = None if adapter or not config.is_file() else read_json(config).get("transformers_weights")
    weights = (
        named if named and isinstance(named, str) else "adapter_model.safetensors" if adapter else "model.safetensors"
    )
    if (directory / weights).is_file() and weights not in shards:
        return [directory / weights]
    index = weights if weights in shards else f"{weights}.index.json"
    if index in shards:
        files = [directory / file for file in sorted(shards[index])]
        if missing := [file.name for file in files if not file.is_file()]:
            raise ModelError(f"{directory / index} names {missing[0]}, which is not there; the weights are not whole.")
        return files
    pickles = sorted(
        path.name
        for pattern in _PICKLES
        for path in directory.glob(pattern)
        if not path.name.startswith(_TRAINER_FILES)
    )
    if pickles and not any(True for pattern in _OTHER_WEIGHTS for _ in directory.glob(pattern)):
        raise ModelError(
            f"{directory}: cannot load its weights: {pickles[0]} may run code when it is opened; wanted {weights}: save it "
            "anew with model.save_pretrained where it is trusted."
        )
    return []


def _header(directory: Path, file: Path) -> dict[str, list[int]]:
    """Shapes by name, read from the header alone.

    Raises: ModelError.
    """
    size = file.stat().st_size
    with file.open("rb") as handle:
        start = handle.read(32)
    if int.from_bytes(start[:8], "little") > size - 8:
        kind = next(
            (description for magic, description in _MAGIC_BYTES.items() if start.startswith(magic)),
            "cut short, or something else",
        )
        raise ModelError(f"{directory}: cannot load its weights: {file.name} is no safetensors file but {kind}.")
    try:
        with safe_open(file, framework="pt") as weights:
            return {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, ValueError, OSError) as error:
        raise ModelError(f"{directory}: cannot load its weights: {file.name}: {error}.") from None


def _config_of(directory: Path) -> PreTrainedConfig | None:
    """Load the configuration by transformers; None where it cannot be loaded.

    Loading the model then raises the error.
    """
    if not (directory / "config.json").is_file():
        return None
    try:
        return AutoConfig.from_pretrained(directory, trust_remote_code=False)
    except Exception:  # loading the model raises it again, with the checkpoint's name
        return None


def _empty_model(config: PreTrainedConfig) -> PreTrainedModel | None:
    """Build the classifier on the meta device; None where it cannot be built."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            return AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    except Exception:  # as above
        return None


def _vet_count(directory: Path, outline: _Outline) -> None:
    """Refuse a configuration that needs more memory than the weights explain.

    The configuration alone decides the size of the model that is built. Raises: ModelError.
    """
    size = sum(file.stat().st_size for file in outline.files)
    count = 0 if outline.model is None else sum(parameter.numel() for parameter in outline.model.parameters())
    if count > _MIN_PARAMETERS_CHECKED and size < count * _MIN_BYTES_PER_PARAMETER:
        raise ModelError(
            f"{directory}/config.json asks for {count:,} parameters (num_hidden_layers, hidden_size, vocab_size and the like), "
            f"and the weights have {size:,} bytes in all; they cannot be meant for each other."
        )


def _vet_labels(path: Path) -> None:
    """Check that id2label has every id, as many as num_labels.

    Raises: ModelError.
    """
    num_labels, labels = (read_json(path).get(field) for field in ("num_labels", "id2label"))
    if not isinstance(labels, dict):
        return
    if num_labels is not None and len(labels) != num_labels:
        raise ModelError(f"{path}: id2label has {len(labels)} labels, and num_labels is {num_labels}.")
    if {*labels} != {*map(str, range(len(labels)))}:
        raise ModelError(
            f"{path}: id2label has the ids {', '.join(sorted(labels)[:5])}; wanted 0 to {len(labels) - 1}."
        )


def _vet_head(directory: Path, outline: _Outline, adapter: bool) -> None:
    """Check that there is a head, with a row for every label.

    Raises: ModelError.
    """
    if outline.model is None:
        return
    try:
        name, linear = final_linear(outline.model)
    except ModelError:
        return  # a head of another kind, compared when it is loaded
    shape = outline.shapes.get(f"base_model.model.{name}.weight" if adapter else f"{name}.weight")
    if shape is None and adapter:
        return  # its base may hold it
    if shape is None:
        absent = ", ".join(sorted(f"{name}.{part}" for part, _ in linear.named_parameters()))
        raise ModelError(
            f"{directory} is no fine-tuned classifier: {absent} is not in its weights, so its predictions would be random; "
            "fine-tune it first (nlp-ft finetune)."
        )
    if shape[0] != outline.model.config.num_labels:
        raise ModelError(
            f"{directory}/config.json: id2label has {outline.model.config.num_labels} labels (2 where it is not given), and "
            f"{name}.weight {shape[0]} rows."
        )
