"""Opening a checkpoint by its name: no noise, one line for an error, nothing from outside the directory it names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, GgufConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging
from transformers.utils.hub import cached_file

from nlp_ft.errors import ModelError, NlpFtError
from nlp_ft.models.safety.weights import read_json, vet_config, vet_index, vet_settings, vet_weights

_LONGEST_REASON = 400


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' load report and bars: what matters in them is checked here, and said or raised."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


@contextlib.contextmanager
def one_line(name: str, what: str) -> Iterator[None]:
    """Turn whatever the libraries raise for an unusable checkpoint (some raise bare Exception) into one ModelError line."""
    try:
        yield
    except NlpFtError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        reason = f"{reason} is missing" if isinstance(error, KeyError) else reason
        raise ModelError(f"{name}: cannot load its {what}: {reason[:_LONGEST_REASON]}") from error


def check_directory(name: str, gguf_file: str | None = None) -> str:
    """Refuse a local path that cannot be a checkpoint, or whose small files are hostile, before anything asks the Hub for it.

    Returns: the name to load from, `~` expanded. Raises: ModelError.
    """
    path = Path(name).expanduser()
    if not name.strip():
        raise ModelError("the checkpoint's name is empty; wanted a directory or a name on the Hub.")
    if path.is_dir():
        wanted = gguf_file or "config.json"
        if not (path / wanted).is_file():
            held = ", ".join(sorted(p.name for p in path.iterdir())[:6]) or "nothing"
            raise ModelError(f"{name} is no checkpoint: it has no {wanted}; it holds {held}.")
        vet_settings(path)
    elif path.is_file():
        raise ModelError(f"{name} is a file; wanted a checkpoint directory or a name on the Hub.")
    elif path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or name.endswith("/"):
        raise ModelError(f"{name}: no such directory, and no name on the Hub either (those are owner/name).")
    return str(path) if path.is_dir() else name


def check_weights(name: str, **hub: Any) -> None:
    """Refuse weights that are no safetensors of the checkpoint's own, before they are loaded; `vetting` says what is refused.

    Of a name on the Hub its configuration and its index of shards are looked at; hub: revision, cache_dir.

    Raises: ModelError.
    """
    path = Path(name)
    if path.is_dir():
        vet_weights(path)
        return
    for file in ("config.json", "model.safetensors.index.json"):
        with one_line(name, file):
            found = cached_file(
                name,
                file,
                _raise_exceptions_for_gated_repo=False,
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False,
                **hub,
            )
        if found and file == "config.json":
            vet_config(Path(found), read_json(Path(found)), code=False)
        elif found:
            vet_index(Path(found))


def open_classifier(name: str, gguf_file: str | None = None, **options: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A float32 classifier with what transformers says of its loading: missing_keys, unexpected_keys, mismatched_keys.

    It raises nothing for a missing head, which is then random: callers look at missing_keys. Weights are read from
    safetensors (or the GGUF file) only, never from a pickle. options: as from_pretrained takes them.

    Raises: ModelError for what `check_weights` refuses, or if there are no weights of a classifier.
    """
    check_weights(name, **{key: options[key] for key in ("revision", "cache_dir") if key in options})
    source: dict[str, Any] = {"use_safetensors": True}
    if gguf_file:
        source = {"gguf_file": gguf_file, "quantization_config": GgufConfig(gguf_file=gguf_file, dequantize=True)}
    with quiet(), one_line(name, "weights"):
        model, info = AutoModelForSequenceClassification.from_pretrained(
            name, dtype=torch.float32, output_loading_info=True, trust_remote_code=False, **source, **options
        )
    if gguf_file:
        _forget_quantization(model)
    return model, info


def _forget_quantization(model: PreTrainedModel) -> None:
    """A GGUF file's weights are float32 once loaded, yet the model says quantized: it would not save, nor train in full."""
    for name in ("hf_quantizer", "is_quantized", "quantization_method"):
        vars(model).pop(name, None)
    for name in ("quantization_config", "_is_quantized"):
        vars(model.config).pop(name, None)


@torch.no_grad()
def grow_embeddings(model: PreTrainedModel, size: int) -> None:
    """Embeddings for `size` tokens at least. The new rows are the mean of the old ones: the same whenever it is done."""
    embeddings: Any = model.get_input_embeddings()
    held = embeddings.num_embeddings
    if size <= held:
        return
    with quiet():
        embeddings = model.resize_token_embeddings(size, mean_resizing=False)
    weight = embeddings.weight
    weight[held:] = weight[:held].mean(dim=0)
