"""`load()`: a fine-tuned classifier from a directory, adapters or the Hub."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from nlp_ft.errors import ConfigError, ModelError
from nlp_ft.evaluation.inference_config import read_inference_config
from nlp_ft.evaluation.probabilities import REGRESSION
from nlp_ft.inference.classifier import AdapterSetup, Classifier
from nlp_ft.inference.device import default_device
from nlp_ft.inference.export.runtime import GraphModel, is_export, open_export, tokenizer_directory
from nlp_ft.models.adapters import SwitchableAdapters, adapter_settings, load_adapter_directory
from nlp_ft.models.checkpoint import as_model_error, check_directory, open_classifier
from nlp_ft.models.classifier import label_names
from nlp_ft.models.safety.weights import vet
from nlp_ft.models.tokenizer import has_tokenizer, open_tokenizer, read_marks_as_text, set_padding_side

_SMALL_FILES = ["*.json", "*.txt", "*.model", "*.jinja"]  # everything of a repository but its weights
_DOWNLOADING = threading.Lock()
_WEIGHTS = ["model*.safetensors", "adapter_model.safetensors"]
_GRAPHS = {  # of a repository without such weights, the first kind that it holds: of two ONNX graphs the exact one
    "model.onnx": ["", "_data", "_data_*", ".data"],
    "model_quantized.onnx": ["", "_data", "_data_*", ".data"],
    "openvino_model": [".xml", ".bin"],
}
_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}


def load(
    name: str | Path | Mapping[str, str | Path],
    revision: str = "main",
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
) -> Classifier:
    """Load a fine-tuned classifier, onto the GPU if there is one.

    Args:
        name: a directory, an export (of model.onnx and model_quantized.onnx the former, unless the latter's path is given), an
            adapter directory (its base is found by its adapter_config.json), a name on the Hub, or several adapter directories
            over one base by name, of which the first is in use until `Classifier.use`.
        revision: branch, tag or commit of a name on the Hub.
        device: as torch names it; if None, the accelerator (of several, that of LOCAL_RANK), or the CPU.
        dtype: of the weights, also by name, such as "bfloat16"; if None or "auto", bfloat16 on CUDA devices that support it,
            float32 elsewhere. An export keeps its own.

    Raises: ModelError if it is no checkpoint, has no tokenizer, or lacks its classification head: a head that is not in the
    files would be random, and transformers raises no error for it. ConfigError for a device that is not there, or a dtype that
    is none.
    """
    chosen = _device(device)
    weights_dtype = _dtype(dtype, chosen)
    if isinstance(name, Mapping):
        classifier = _load_adapters({key: _directory(str(path), revision) for key, path in name.items()}, chosen)
    else:
        classifier = _load_single(str(name), _directory(str(name), revision), chosen)
    if weights_dtype != torch.float32 and isinstance(classifier.model, torch.nn.Module):
        classifier.model.to(weights_dtype)
    return classifier


def _directory(name: str, revision: str) -> Path:
    """Directory to load from, or file of an export; of a name on the Hub, a snapshot of one commit.

    Of the snapshot no more is fetched than is opened. Raises: ModelError.
    """
    file = Path(name).expanduser()
    if file.is_file() and is_export(file):
        return file
    name = check_directory(name)
    if Path(name).is_dir():
        return Path(name)
    with as_model_error(name, "files from the Hub"), _bars_on_a_terminal():
        folder = snapshot_download(name, revision=revision, allow_patterns=_SMALL_FILES)
        commit = Path(folder).name
        folder = snapshot_download(name, revision=commit, allow_patterns=[*_SMALL_FILES, *_WEIGHTS])
        for graph, endings in _GRAPHS.items():
            if any(Path(folder).glob("*.safetensors")) or is_export(Path(folder)):
                break
            files = [f"{place}{graph}{ending}" for place in ("", "onnx/", "openvino/") for ending in endings]
            folder = snapshot_download(name, revision=commit, allow_patterns=[*_SMALL_FILES, *files])
        return Path(folder)


@contextmanager
def _bars_on_a_terminal() -> Iterator[None]:
    """Context: progress bars of downloads appear on a terminal alone."""
    with _DOWNLOADING:  # the setting is the whole process's
        if sys.stderr.isatty() or are_progress_bars_disabled():
            yield
            return
        disable_progress_bars()
        try:
            yield
        finally:
            enable_progress_bars()


def _load_single(name: str, directory: Path, device: torch.device) -> Classifier:
    model: PreTrainedModel | GraphModel
    if (directory / "adapter_config.json").is_file():
        _vet_adapter(directory)
        model = load_adapter_directory(directory)
    elif is_export(directory):
        model = open_export(directory)
    else:
        vet(directory)
        model, info = open_classifier(str(directory))
        if missing := sorted(info["missing_keys"]):
            raise ModelError(
                f"{name} is no fine-tuned classifier: {', '.join(missing[:3])} is not in its weights, so its predictions would "
                "be random; fine-tune it first (nlp-ft finetune)."
            )
    adapter_setup = _adapter_setup(name, directory, model.config)
    return Classifier(model, adapter_setup.tokenizer, device, adapter_setup.inference_config)


def _vet_adapter(directory: Path) -> None:
    """Check an adapter directory.

    Raises: ModelError.
    """
    adapter_settings(directory)  # first: whether it is an adapter at all
    vet(directory, adapter=True)


def _load_adapters(directories: Mapping[str, Path], device: torch.device) -> Classifier:
    if not directories:
        raise ConfigError("load() got no adapter directory; give {name: directory, ...}.")
    for directory in directories.values():
        _vet_adapter(directory)
    adapters = SwitchableAdapters(directories)
    adapter_setups = {
        key: _adapter_setup(str(directory), directory, adapters.configs[key]) for key, directory in directories.items()
    }
    return Classifier(adapters.model, device=device, adapter_setups=adapter_setups, switch=adapters.use)


def _adapter_setup(name: str, directory: Path, config: PreTrainedConfig) -> AdapterSetup:
    """Tokenizer and calibration of a directory.

    The adapter/ within a run's directory has the run's tokenizer.
    """
    source = tokenizer_directory(directory)
    source = source if has_tokenizer(source) or not has_tokenizer(source.parent) else source.parent
    tokenizer = open_tokenizer(str(source), trust_remote_code=False)
    _agree_on_pad(name, config, tokenizer)
    problem_type = config.problem_type or (REGRESSION if config.num_labels == 1 else "")
    labels = [] if problem_type == REGRESSION else label_names(config)
    return AdapterSetup(config, tokenizer, read_inference_config(source, labels))


def _agree_on_pad(name: str, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    """Set the tokenizer's pad token and side to those the model's pooling expects.

    nlp_ft saves them so; a checkpoint from elsewhere may lack one, or have two that differ. Raises: ModelError if neither has
    one.
    """
    set_padding_side(tokenizer, config.model_type)
    if config.is_encoder_decoder:
        read_marks_as_text(tokenizer)
    text = config.get_text_config()
    if text.pad_token_id is None:
        if tokenizer.pad_token_id is None:
            raise ModelError(
                f"{name} has no pad token; set pad_token_id in its config.json and pad_token in its tokenizer."
            )
        text.pad_token_id = tokenizer.pad_token_id
    elif tokenizer.pad_token_id != text.pad_token_id:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(text.pad_token_id)


def _device(requested: torch.device | str | None) -> torch.device:
    """The requested device, else Accelerate's choice.

    Raises: ConfigError for a device that cannot be used.
    """
    if requested is None:
        return default_device()
    try:
        device = torch.device(requested)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {requested!r} cannot be used: {str(error).splitlines()[0]}") from None
    return device


def _dtype(requested: torch.dtype | str | None, device: torch.device) -> torch.dtype:
    """The requested dtype, also by its name in torch; else what the device is best at.

    Raises: ConfigError for what is no floating-point dtype.
    """
    if requested is None or requested == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    dtype = _DTYPES.get(requested.removeprefix("torch.")) if isinstance(requested, str) else requested
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ConfigError(f"dtype must be one of {', '.join(_DTYPES)} or auto, got {requested!r}.")
    return dtype
