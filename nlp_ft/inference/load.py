"""`load()`: a fine-tuned classifier from a directory, an adapter directory, several of those over one base, or the Hub."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from huggingface_hub import snapshot_download
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from transformers import PreTrainedTokenizerBase

from nlp_ft.errors import ConfigError, ModelError
from nlp_ft.evaluation.inference_config import read_inference_config
from nlp_ft.evaluation.probabilities import REGRESSION
from nlp_ft.inference.classifier import AdapterSetup, Classifier
from nlp_ft.inference.export.runtime import is_export, open_export
from nlp_ft.models.adapters import SwitchableAdapters, adapter_settings, load_adapter_directory
from nlp_ft.models.checkpoint import as_model_error, check_directory, open_classifier
from nlp_ft.models.safety.weights import vet
from nlp_ft.models.tokenizer import has_tokenizer, open_tokenizer, set_padding_side

_SMALL = ["*.json", "*.txt", "*.model", "*.jinja"]  # everything of a repository but its weights
_WEIGHTS = ["model*.safetensors", "adapter_model.safetensors"]


def load(
    name: str | Path | Mapping[str, str | Path],
    revision: str = "main",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Classifier:
    """Load a fine-tuned classifier; onto the GPU, if there is one.

    Args:
        name: a directory, an export, an adapter directory (its base is found by its adapter_config.json), a name on the Hub,
            or several adapter directories over one base by name, of which the first is in use until `Classifier.use`.
        revision: branch, tag or commit of a name on the Hub.
        device: as torch names it; where not given, by Accelerate's rules: CUDA, MPS, or the CPU.
        dtype: of the weights; where not given, bfloat16 on CUDA devices that have it, float32 elsewhere.

    Raises: ModelError if it is no checkpoint, has no tokenizer, or lacks its classification head: a head that is not in the
    files would be random, and transformers does not stop at it. ConfigError for a device that is not there.
    """
    chosen = _device(device)
    if isinstance(name, Mapping):
        classifier = _several({key: _place(str(path), revision) for key, path in name.items()}, chosen)
    else:
        classifier = _one(str(name), _place(str(name), revision), chosen)
    kind = dtype or _dtype(chosen)
    if kind != torch.float32 and isinstance(classifier.model, torch.nn.Module):
        classifier.model.to(kind)
    return classifier


def _place(name: str, revision: str) -> Path:
    """The directory to load from; of a name on the Hub a snapshot of one commit, whose files are all there is to it.

    Raises: ModelError.
    """
    name = check_directory(name)
    if Path(name).is_dir():
        return Path(name)
    with as_model_error(name, "files from the Hub"), _bars_on_a_terminal():
        folder = snapshot_download(name, revision=revision, allow_patterns=_SMALL)
        commit = Path(folder).name
        return Path(snapshot_download(name, revision=commit, allow_patterns=[*_SMALL, *_WEIGHTS]))


@contextmanager
def _bars_on_a_terminal() -> Iterator[None]:
    """Progress of downloads, where somebody watches."""
    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _one(name: str, place: Path, device: torch.device) -> Classifier:
    model: Any
    if (place / "adapter_config.json").is_file():
        _vet_adapter(place)
        model = load_adapter_directory(place)
    elif is_export(place):
        model = open_export(place)
    else:
        vet(place)
        model, info = open_classifier(str(place))
        if absent := sorted(info["missing_keys"]):
            raise ModelError(
                f"{name} is no fine-tuned classifier: {', '.join(absent[:3])} is not in its weights, so its answers would be "
                "random; fine-tune it first (nlp-ft finetune)."
            )
    adapter_setup = _adapter_setup(name, place, model.config)
    return Classifier(model, adapter_setup.tokenizer, device, adapter_setup.inference_config)


def _vet_adapter(place: Path) -> None:
    """Raises: ModelError."""
    adapter_settings(place)  # what is no adapter is told so first
    vet(place, adapter=True)


def _several(indices: Mapping[str, Path], device: torch.device) -> Classifier:
    if not indices:
        raise ConfigError("load() got no adapter directory; give {name: directory, ...}.")
    for place in indices.values():
        _vet_adapter(place)
    held = SwitchableAdapters(indices)
    adapter_setups = {key: _adapter_setup(str(place), place, held.configs[key]) for key, place in indices.items()}
    return Classifier(held.model, device=device, adapter_setups=adapter_setups, switch=held.use)


def _adapter_setup(name: str, place: Path, config: Any) -> AdapterSetup:
    """Tokenizer and calibration of a directory; an adapter/ within a run's directory has the run's tokenizer."""
    home = place if has_tokenizer(place) or not has_tokenizer(place.parent) else place.parent
    tokenizer = open_tokenizer(str(home), trust_remote_code=False)
    _agree_on_pad(name, config, tokenizer)
    problem = config.problem_type or (REGRESSION if config.num_labels == 1 else "")
    labels = [] if problem == REGRESSION else [str(config.id2label[i]) for i in range(config.num_labels)]
    return AdapterSetup(config, tokenizer, read_inference_config(home, labels))


def _agree_on_pad(name: str, config: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Make the tokenizer pad with what the model's pooling takes for padding, on the side it expects.

    nlp_ft saves them so; a checkpoint from elsewhere may say nothing, or two things. Raises: ModelError if neither has one.
    """
    set_padding_side(tokenizer, config.model_type)
    text = config.get_text_config()
    if text.pad_token_id is None:
        if tokenizer.pad_token_id is None:
            raise ModelError(
                f"{name} has no pad token; set pad_token_id in its config.json and pad_token in its tokenizer."
            )
        text.pad_token_id = tokenizer.pad_token_id
    elif tokenizer.pad_token_id != text.pad_token_id:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(text.pad_token_id)


def _device(asked: torch.device | str | None) -> torch.device:
    """What was asked for, if it is there; else Accelerate's choice. Raises: ConfigError."""
    if asked is None:
        return torch.device(PartialState().device or "cpu")
    try:
        device = torch.device(asked)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {asked!r} cannot be used: {str(error).splitlines()[0]}") from None
    return device


def _dtype(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
