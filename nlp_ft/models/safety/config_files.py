"""Checks of a checkpoint's small files: imports, foreign paths, absurd sizes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any, TypeGuard

from nlp_ft.errors import ModelError

_MIB = 2**20
_PARSED = {  # parsing takes about ten times a file's size
    "config.json": 16 * _MIB,
    "tokenizer_config.json": 16 * _MIB,
    "adapter_config.json": 16 * _MIB,
    "special_tokens_map.json": 16 * _MIB,
    "added_tokens.json": 64 * _MIB,
    "model.safetensors.index.json": 64 * _MIB,
}
_VOCABULARY = 512 * _MIB  # any other file of a tokenizer; the largest known is under 40 MB
_READ = {".json", ".jsonl", ".txt", ".model", ".jinja", ".safetensors", ".gguf", ".onnx"}
_BOUNDS = {  # several times the largest model there is
    1024: "num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers num_hidden_groups",
    8192: "num_attention_heads num_key_value_heads n_head n_heads num_experts num_local_experts n_routed_experts",
    2**17: "hidden_size d_model n_embd dim embedding_size head_dim type_vocab_size pooler_hidden_size",
    2**21: "intermediate_size n_inner d_inner d_ff hidden_dim moe_intermediate_size",
    2**23: "vocab_size",
    2**20: "num_labels",
    2**28: "max_position_embeddings n_positions position_buckets max_relative_positions",
}
_LIMITS = {field: limit for limit, fields in _BOUNDS.items() for field in fields.split()}
_HARMLESS_FILES = ("special_tokens_map_file", "tokenizer_file")  # left by old versions, and never opened
_HIGHEST_RANK = 2**14


def vet_settings(directory: Path) -> None:
    """Check the small files: size, nesting, links, imported code, requested sizes.

    Raises: ModelError.
    """
    for path in sorted(directory.iterdir()):
        if path.suffix in _READ and path.is_symlink():
            _vet_link(path, directory)
        if path.suffix in (".json", ".txt", ".model") and path.name not in _PARSED and path.is_file():
            _vet_size(path, _VOCABULARY)
    settings = {name: read_json(directory / name) for name in _PARSED if (directory / name).is_file()}
    if config := settings.get("config.json"):
        vet_config(directory / "config.json", config)
    if tokenizer := settings.get("tokenizer_config.json"):
        _vet_tokenizer(directory / "tokenizer_config.json", tokenizer)
    if adapter := settings.get("adapter_config.json"):
        _vet_adapter(directory / "adapter_config.json", adapter)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises: ModelError if it is too large, too deep, has a key twice, or is no object.
    """
    _vet_size(path, _PARSED.get(path.name, 64 * _MIB))
    duplicates: list[str] = []

    def without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
        members = dict(pairs)
        if len(members) < len(pairs):
            names = [name for name, _ in pairs]
            duplicates.append(next(name for name in names if names.count(name) > 1))
        return members

    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=without_duplicates)
    except RecursionError:
        raise ModelError(f"{path} is nested too deep to be read.") from None
    except ValueError as error:  # also bytes that are no UTF-8
        raise ModelError(f"{path} is no JSON: {error}.") from None
    if duplicates:
        raise ModelError(f"{path} has the key {duplicates[0]!r} twice; wanted every key once.")
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}; wanted a JSON object.")
    return content


def vet_config(path: Path, config: Mapping[str, object], *, code: bool = True) -> None:
    """Check that a config.json imports, reads and builds nothing it should not.

    code: refuse auto_map, too. Raises: ModelError.
    """
    if code:
        _refuse_code(path, config)
    if "configuration_files" in config:
        raise ModelError(
            f"{path}: configuration_files names another configuration; wanted this one to be all there is."
        )
    quantization = config.get("quantization_config") or config.get("compression_config")
    if quantization:
        method = quantization.get("quant_method") if isinstance(quantization, dict) else quantization
        raise ModelError(
            f"{path}: quantization_config of kind {method!r} imports further packages; wanted plain weights (or a GGUF file)."
        )
    for field in ("transformers_weights", "nlp_ft_gguf_file"):
        file = config.get(field)
        if file is not None and not (is_plain_name(file) and file.endswith((".safetensors", ".index.json", ".gguf"))):
            raise ModelError(f"{path}: {field} names {file!r}, which is no weights file of that directory.")
    for field, value in _fields(config):
        if "implementation" in field and any("/" in name for name in _strings(value)):
            raise ModelError(f"{path}: {field} {value!r} names code to be fetched from a repository of kernels.")
        limit = _LIMITS.get(field)
        if limit and isinstance(value, int | float) and not -2 < value <= limit:
            raise ModelError(f"{path}: {field} is {value}; wanted 0 to {limit}.")
    labels = config.get("id2label")
    if isinstance(labels, dict) and len(labels) > _LIMITS["num_labels"]:
        raise ModelError(f"{path}: id2label has {len(labels)} labels; wanted at most {_LIMITS['num_labels']}.")


def vet_index(path: Path) -> set[str]:
    """Check an index of shards and return their names.

    Raises: ModelError if a shard is not beside the index.
    """
    shards = read_json(path).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(file, str) for file in shards.values()):
        raise ModelError(f"{path}: weight_map is missing; wanted a file's name for every weight.")
    files = set(shards.values())
    if outside := sorted(file for file in files if not is_plain_name(file)):
        raise ModelError(f"{path} names {outside[0]}, which is not a file of that directory; not loaded.")
    if other := sorted(file for file in files if not file.endswith(".safetensors")):
        raise ModelError(f"{path}: weight_map names {other[0]}, which is no safetensors file.")
    return files


def _vet_tokenizer(path: Path, settings: Mapping[str, object]) -> None:
    """Check that a tokenizer_config.json names files of its directory alone.

    Raises: ModelError.
    """
    _refuse_code(path, settings)
    for field, value in settings.items():
        is_path = field.endswith(("_file", "_files", "_spm")) or field in ("vocab", "merges", "sp_model", "init_inputs")
        if not is_path or field in _HARMLESS_FILES:
            continue
        if outside := [name for name in _strings(value) if not is_plain_name(name)]:
            raise ModelError(f"{path}: {field} names {outside[0]!r}, which is not a file of that directory.")


def _vet_adapter(path: Path, settings: Mapping[str, object]) -> None:
    """Check an adapter_config.json.

    Raises: ModelError.
    """
    _refuse_code(path, settings)
    base = settings.get("base_model_name_or_path")
    if base is not None and (not isinstance(base, str) or re.match(r"[A-Za-z][\w+.-]+:|\\\\|//", base) or "\0" in base):
        raise ModelError(f"{path}: base_model_name_or_path is {base!r}; wanted a directory or a name on the Hub.")
    for field in ("megatron_config", "layer_replication"):
        if settings.get(field):
            raise ModelError(f"{path}: {field} imports or builds what no classifier here has; wanted it empty.")
    ranks = settings.get("rank_pattern")
    for rank in (settings.get("r"), *(ranks.values() if isinstance(ranks, dict) else ())):
        if isinstance(rank, int | float) and not 0 < rank <= _HIGHEST_RANK:
            raise ModelError(f"{path}: r is {rank}; wanted 1 to {_HIGHEST_RANK}.")


def _refuse_code(path: Path, settings: Mapping[str, object]) -> None:
    if settings.get("auto_map"):
        raise ModelError(
            f"{path}: auto_map names code of the checkpoint's own, which is never run; where the architecture "
            f"({settings.get('model_type') or settings.get('tokenizer_class')}) is one of transformers' own, remove the field."
        )


def _vet_link(path: Path, directory: Path) -> None:
    """Refuse a link that leaves the directory and its Hub cache.

    Raises: ModelError.
    """
    home = directory.resolve()
    allowed = [home]
    for snapshot in (home, home.parent):  # the graph of an export stands in a folder of its repository
        repository = snapshot.parent.parent
        if snapshot.parent.name == "snapshots" and repository.name.startswith("models--"):
            allowed += [
                repository / "blobs",
                repository.parent / "blobs",
            ]  # of this repository, and shared by the cache
    if not any(path.resolve().is_relative_to(target) for target in allowed):
        raise ModelError(f"{path} is a link to a file outside of that directory; put the file itself there.")


def _vet_size(path: Path, limit: int) -> None:
    if path.stat().st_size > limit:
        raise ModelError(f"{path} has {path.stat().st_size / _MIB:.0f} MB; wanted at most {limit // _MIB}.")


def is_plain_name(name: object) -> TypeGuard[str]:
    """Whether a value is a bare file name on every system."""
    return isinstance(name, str) and PurePath(name).name == name == PureWindowsPath(name).name and name != ".."


def _strings(value: object) -> list[str]:
    """Strings in a JSON value, at any depth."""
    strings: list[str] = []
    stack: list[object] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            strings.append(item)
        elif isinstance(item, dict | list):
            stack.extend(item.values() if isinstance(item, dict) else item)
    return strings


def _fields(settings: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Every field with its value, of nested configurations, too.

    A stack and no recursion, as the file may be nested as deep as the JSON parser goes.
    """
    stack: list[Mapping[str, object]] = [settings]
    while stack:
        for field, value in stack.pop().items():
            yield field, value
            if isinstance(value, dict):
                stack.append(value)
