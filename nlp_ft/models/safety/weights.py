"""Refusing a hostile or broken checkpoint directory by its small files and its weights' headers, before anything is loaded.

Held by this: no pickle is opened, no code that a file names is imported, nothing outside the directory is read, and no more
memory is asked for than the size of the weights explains. Not held: slow patterns in tokenizer.json or an adapter's
target_modules, the time that a large but honest model takes, and weights that are whole yet trained to mislead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForSequenceClassification

from nlp_ft.errors import ModelError
from nlp_ft.models.heads import final_linear
from nlp_ft.models.safety.config_files import read_json, vet_config, vet_index, vet_settings

__all__ = ["read_json", "vet", "vet_config", "vet_index", "vet_settings", "vet_weights"]

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
_NO_WEIGHTS = ("training_args", "optimizer", "scheduler", "scaler", "rng_state")  # what Trainer puts into checkpoints
_OTHER_WEIGHTS = ("*.gguf", "*.onnx", "*.xml")  # none of them runs code; each has its own loader
_FEWEST_BYTES = 0.25  # a parameter: no format holds one in less than two bits
_WORTH_COUNTING = 50_000_000  # parameters; fewer do no harm
_MAGIC = {
    b"PK\x03\x04": "a zip file, as torch.save writes",
    b"\x80": "a pickle",
    b"version https://git-lfs": "a Git LFS pointer",
}


class _Outline(NamedTuple):
    """A checkpoint without its weights: files, shapes by name, configuration and empty model (None where there is none)."""

    files: list[Path]
    shapes: dict[str, list[int]]
    config: Any
    model: Any


def vet(directory: Path, *, adapter: bool = False, fine_tuned: bool = True) -> None:
    """Refuse a directory that is hostile, broken, or no fine-tuned classifier; nothing of its weights but headers is read.

    adapter: it is to hold an adapter over another checkpoint, which is vetted when that is opened; else it must hold none.
    fine_tuned: it must hold a head, with as many rows as it has labels; a checkpoint to start from need not.

    Raises: ModelError, which names file and field.
    """
    vet_settings(directory)
    outline = _vet_weights(directory, adapter)
    if fine_tuned and (directory / "config.json").is_file():
        _vet_labels(directory / "config.json")
        _vet_head(directory, outline, adapter)


def vet_weights(directory: Path) -> None:
    """A whole checkpoint's weights by their names, first bytes and headers, and the size of what would be built of them.

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
    outline = _Outline(files, shapes, config, None if config is None else _empty_model(config))
    if not adapter:
        _vet_count(directory, outline)
    return outline


def _weight_files(directory: Path, adapter: bool) -> list[Path]:
    """What is loaded, none where another kind of weights is at hand. Raises: ModelError for pickles and bad indices."""
    shards = {path.name: vet_index(path) for path in sorted(directory.glob("*.safetensors.index.json"))}
    config = directory / "config.json"
    own = None if adapter or not config.is_file() else read_json(config).get("transformers_weights")
    whole = "adapter_model.safetensors" if adapter else own or "model.safetensors"
    if (directory / whole).is_file() and whole not in shards:
        return [directory / whole]
    index = whole if whole in shards else f"{whole}.index.json"
    if index in shards:
        files = [directory / file for file in sorted(shards[index])]
        if gone := [file.name for file in files if not file.is_file()]:
            raise ModelError(f"{directory / index} names {gone[0]}, which is not there; the weights are not whole.")
        return files
    pickles = sorted(
        path.name for pattern in _PICKLES for path in directory.glob(pattern) if not path.name.startswith(_NO_WEIGHTS)
    )
    if pickles and not any(True for pattern in _OTHER_WEIGHTS for _ in directory.glob(pattern)):
        raise ModelError(
            f"{directory}: cannot load its weights: {pickles[0]} may run code when it is opened; wanted {whole}: save it "
            "anew with model.save_pretrained where it is trusted."
        )
    return []


def _header(directory: Path, file: Path) -> dict[str, list[int]]:
    """Shapes by name, of nothing but the header. Raises: ModelError."""
    size = file.stat().st_size
    with file.open("rb") as handle:
        start = handle.read(32)
    if int.from_bytes(start[:8], "little") > size - 8:
        said = next((what for magic, what in _MAGIC.items() if start.startswith(magic)), "cut short, or something else")
        raise ModelError(f"{directory}: cannot load its weights: {file.name} is no safetensors file but {said}.")
    try:
        with safe_open(file, framework="pt") as weights:
            return {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, ValueError, OSError) as error:
        raise ModelError(f"{directory}: cannot load its weights: {file.name}: {error}.") from None


def _config_of(directory: Path) -> Any:
    """The configuration as transformers reads it, None where it cannot: loading says why."""
    if not (directory / "config.json").is_file():
        return None
    try:
        return AutoConfig.from_pretrained(directory, trust_remote_code=False)
    except Exception:  # whatever it is, it comes again where it can be told
        return None


def _empty_model(config: Any) -> Any:
    """The classifier without memory for its weights; None where it cannot be built."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            return AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    except Exception:  # as above
        return None


def _vet_count(directory: Path, outline: _Outline) -> None:
    """Memory is asked for by the configuration, weights or no weights. Raises: ModelError."""
    size = sum(file.stat().st_size for file in outline.files)
    count = 0 if outline.model is None else sum(parameter.numel() for parameter in outline.model.parameters())
    if count > _WORTH_COUNTING and size < count * _FEWEST_BYTES:
        raise ModelError(
            f"{directory}/config.json asks for {count:,} parameters (num_hidden_layers, hidden_size, vocab_size and the like), "
            f"and the weights have {size:,} bytes in all; they cannot be meant for each other."
        )


def _vet_labels(path: Path) -> None:
    """Label names by every id, as many as num_labels says. Raises: ModelError."""
    said, labels = (read_json(path).get(field) for field in ("num_labels", "id2label"))
    if not isinstance(labels, dict):
        return
    if said is not None and len(labels) != said:
        raise ModelError(f"{path}: id2label has {len(labels)} labels, and num_labels is {said}.")
    if {*labels} != {*map(str, range(len(labels)))}:
        raise ModelError(
            f"{path}: id2label has the ids {', '.join(sorted(labels)[:5])}; wanted 0 to {len(labels) - 1}."
        )


def _vet_head(directory: Path, outline: _Outline, adapter: bool) -> None:
    """There is a head, with a row for every label. Raises: ModelError."""
    if outline.model is None:
        return
    try:
        name, linear = final_linear(outline.model)
    except ModelError:
        return  # a head of another kind, which is compared when it is loaded
    shape = outline.shapes.get(f"base_model.model.{name}.weight" if adapter else f"{name}.weight")
    if shape is None and adapter:
        return  # its base may hold it
    if shape is None:
        absent = ", ".join(sorted(f"{name}.{part}" for part, _ in linear.named_parameters()))
        raise ModelError(
            f"{directory} is no fine-tuned classifier: {absent} is not in its weights, so its answers would be random; "
            "fine-tune it first (nlp-ft finetune)."
        )
    if shape[0] != outline.config.num_labels:
        raise ModelError(
            f"{directory}/config.json: id2label has {outline.config.num_labels} labels (2 where it is not given), and "
            f"{name}.weight {shape[0]} rows."
        )
