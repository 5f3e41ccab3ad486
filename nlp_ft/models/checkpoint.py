"""Opening a checkpoint by its name: silently, vetted, with one-line errors."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from transformers import AutoModelForSequenceClassification, GgufConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging
from transformers.utils.hub import cached_file

from nlp_ft.config.names import check_model
from nlp_ft.errors import ModelError, NlpFtError
from nlp_ft.models.pooling_file import HubOptions
from nlp_ft.models.safety.weights import read_json, vet_config, vet_index, vet_settings, vet_weights

_MAX_REASON_LENGTH = 400
_LOADING = threading.RLock()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Context: transformers' load report and progress bars are off.

    What matters in the report is checked here, and logged or raised. One thread at a time: these settings, and others that
    transformers changes while it loads, are of the whole process, and two that overlap would restore each other's.
    """
    with _LOADING:
        level, had_bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        try:
            yield
        finally:
            transformers_logging.set_verbosity(level)
            if had_bars:
                transformers_logging.enable_progress_bar()


@contextlib.contextmanager
def as_model_error(name: str, what: str) -> Iterator[None]:
    """Context: errors of an unusable checkpoint become one ModelError line.

    The libraries raise errors of many kinds, some a bare Exception. name: of the checkpoint; what: the part being loaded.
    """
    try:
        yield
    except NlpFtError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        reason = f"{reason} is missing" if isinstance(error, KeyError) else reason
        raise ModelError(f"{name}: cannot load its {what}: {reason[:_MAX_REASON_LENGTH]}") from error


def check_directory(name: str, gguf_file: str | None = None) -> str:
    """Refuse a local path that is no checkpoint, or whose small files are hostile.

    It is checked before anything asks the Hub for a model of that name.

    Returns: the name to load from, `~` expanded. Raises: ModelError.
    """
    check_model(name)
    path = Path(name).expanduser()
    if path.is_dir():
        required = gguf_file or "config.json"
        if not (path / required).is_file():
            files = ", ".join(sorted(p.name for p in path.iterdir())[:6]) or "nothing"
            raise ModelError(f"{name} is no checkpoint: it has no {required}; it holds {files}.")
        vet_settings(path)
    return str(path) if path.is_dir() else name


def check_weights(name: str, **hub: Unpack[HubOptions]) -> None:
    """Refuse weights that are not safetensors in the checkpoint, before loading.

    Of a name on the Hub the configuration and the index of shards are checked. `models.safety` lists what is refused.

    Raises: ModelError.
    """
    path = Path(name)
    if path.is_dir():
        vet_weights(path)
        return
    for file in ("config.json", "model.safetensors.index.json"):
        with as_model_error(name, file):
            cached = cached_file(
                name,
                file,
                _raise_exceptions_for_gated_repo=False,
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False,
                **hub,
            )
        if cached and file == "config.json":
            vet_config(Path(cached), read_json(Path(cached)), code=False)
        elif cached:
            vet_index(Path(cached))


class LoadingInfo(TypedDict):
    """Keys of parameters that did not load as saved; mismatched ones with both shapes."""

    missing_keys: Collection[str]
    unexpected_keys: Collection[str]
    mismatched_keys: Collection[tuple[str, torch.Size, torch.Size]]


def open_classifier(name: str, gguf_file: str | None = None, **options: Any) -> tuple[PreTrainedModel, LoadingInfo]:
    """Load a float32 classifier, with transformers' loading info.

    A missing head raises nothing and is random: callers check missing_keys. Weights are read from safetensors (or the GGUF
    file) only, never from a pickle. options: as from_pretrained takes them.

    Raises: ModelError for what `check_weights` refuses, or if there are no weights of a classifier.
    """
    check_weights(name, **{key: options[key] for key in ("revision", "cache_dir") if key in options})
    source: dict[str, object] = {"use_safetensors": True}
    if gguf_file:
        source = {"gguf_file": gguf_file, "quantization_config": GgufConfig(gguf_file=gguf_file, dequantize=True)}
    with quiet(), as_model_error(name, "weights"):
        model, info = AutoModelForSequenceClassification.from_pretrained(
            name, dtype=torch.float32, output_loading_info=True, trust_remote_code=False, **source, **options
        )
    if gguf_file:
        unset_quantization(model)
    return model, info


def unset_quantization(model: PreTrainedModel) -> None:
    """Remove the quantization marks of a model loaded from a GGUF file.

    Its weights are float32 once loaded, yet a model marked as quantized would neither save nor train in full.
    """
    for name in ("hf_quantizer", "is_quantized", "quantization_method"):
        vars(model).pop(name, None)
    for name in ("quantization_config", "_is_quantized"):
        vars(model.config).pop(name, None)


@torch.no_grad()
def grow_embeddings(model: PreTrainedModel, size: int) -> None:
    """Grow the embeddings to at least `size` tokens, in place.

    The new rows are the mean of the old ones, which is the same whenever it is done.
    """
    embeddings: Any = model.get_input_embeddings()
    count = embeddings.num_embeddings
    if size <= count:
        return
    with quiet():
        embeddings = model.resize_token_embeddings(size, mean_resizing=False)
    weight = embeddings.weight
    weight[count:] = weight[:count].mean(dim=0)
