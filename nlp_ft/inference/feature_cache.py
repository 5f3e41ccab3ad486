"""Disk cache of rows that a model computed, such as features or teacher logits.

Rows are found by weights and text. A shard is one .npy file of records: digest of the text, checksum of the row, the row. What
is broken, full or not allowed is computed again or not kept, and never an error.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast
from torch import nn
from transformers import PreTrainedTokenizerBase

from nlp_ft.utils import log

_DIGEST_BYTES = 16
_MAX_BYTES = 2 * 1024**3  # of the whole directory
_IGNORED_FIELDS = (  # of a configuration: without effect on the outputs in evaluation mode
    "_name_or_path",
    "name_or_path",
    "transformers_version",
    "architectures",
    "id2label",
    "label2id",
    "problem_type",
    "dtype",
    "torch_dtype",
    "use_cache",
    "use_mems_eval",
)
_logged: set[str] = set()


def cache_directory() -> Path:
    """Directory of the cache.

    In $NLP_FT_CACHE, else in nlp_ft of $XDG_CACHE_HOME or of ~/.cache.
    """
    if configured := os.environ.get("NLP_FT_CACHE"):
        return Path(configured) / "rows"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nlp_ft" / "rows"


def row_digests(texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[bytes]:
    """Digest of each text (and its pair), 16 bytes a row."""
    if pairs is None:
        return [_digest(text.encode("utf-8", "surrogatepass"), b"text") for text in texts]
    return [_digest(json.dumps(both).encode(), b"pair") for both in zip(texts, pairs, strict=True)]


def _digest(content: bytes, kind: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES, person=kind).digest()


def weights_key(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, *more: object, without: Sequence[nn.Module] = ()
) -> str:
    """sha256 (hex) over everything a row depends on except its text.

    Names, types and bytes of all weights, the class, the configuration but for names and labels, adapters, the tokenizer, and
    `more` (the token limit, the layer that is read, and whatever else changes a row). without: modules of the model whose
    weights do not count, such as a last layer that has not been fitted.
    """
    key = hashlib.sha256()
    skipped = {id(parameter) for module in without for parameter in module.parameters()}
    for name, tensor in sorted(model.state_dict(keep_vars=True).items()):
        if id(tensor) not in skipped:
            key.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
            key.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    configured: Any = model
    config = {name: value for name, value in configured.config.to_dict().items() if name not in _IGNORED_FIELDS}
    adapters = {name: part.to_dict() for name, part in (getattr(configured, "peft_config", None) or {}).items()}
    content = [type(model).__name__, config, adapters, _serialised(tokenizer), *more]
    key.update(json.dumps(content, sort_keys=True, default=_plain).encode())
    return key.hexdigest()


def _plain(value: object) -> object:
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else str(value)


def _serialised(tokenizer: PreTrainedTokenizerBase) -> list[object]:
    """Serialise a tokenizer without the truncation and padding of its last call."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    form = sorted(tokenizer.get_vocab().items()) if backend is None else json.loads(backend.to_str())
    if isinstance(form, dict):
        form = {name: part for name, part in form.items() if name not in ("truncation", "padding")}
    sides = (tokenizer.padding_side, tokenizer.truncation_side)
    return [type(tokenizer).__name__, form, tokenizer.special_tokens_map, *sides, tokenizer.model_input_names]


def cached_rows(
    kind: str, key: str, digests: Sequence[bytes], compute: Callable[[list[int]], np.ndarray]
) -> np.ndarray:
    """Float32 (rows, width): known rows are read, the others computed and kept.

    compute gets the indices of the rows to compute, each digest once, and returns their rows (indices, width); it is not
    called where nothing is missing. Its rows are kept as one new shard. Under several processes rank 0 reads and writes and
    sends its rows to the others, and all of them call compute with the same indices: it may share the work, as `encode` does.
    """
    directory = cache_directory() / kind / key
    main = PartialState().is_main_process
    first = {digest: i for i, digest in reversed(list(enumerate(digests)))}
    known = _read(directory, first) if main else {}
    known = _broadcast_rows(known, list(first.values()))
    missing = sorted(set(first.values()) - known.keys())
    if missing:
        computed = np.asarray(compute(missing), dtype=np.float32)
        known |= dict(zip(missing, computed, strict=True))
        if main:
            _write_shard(directory, [digests[i] for i in missing], computed)
    if not digests:
        return np.asarray(compute([]), dtype=np.float32)
    return np.stack([known[first[digest]] for digest in digests])


def _record(width: int) -> np.dtype:
    return np.dtype([("digest", "V16"), ("check", "<u4"), ("row", "<f4", (width,))])


def _read(directory: Path, wanted: dict[bytes, int]) -> dict[int, np.ndarray]:
    """Rows by index in the caller's list; broken shards and rows are skipped."""
    rows: dict[int, np.ndarray] = {}
    for path in _files(directory):
        with contextlib.suppress(OSError, ValueError, EOFError, SyntaxError):
            for digest, row in _whole_rows(path, wanted):
                if not rows or row.shape == next(iter(rows.values())).shape:
                    rows[wanted[digest]] = row
            os.utime(path)  # the least recently used are evicted first
    return rows


def _whole_rows(path: Path, wanted: dict[bytes, int]) -> Iterator[tuple[bytes, np.ndarray]]:
    """(digest, row) of a shard's wanted rows whose checksum is right.

    Raises: ValueError, OSError for a file that is no shard.
    """
    shard = np.load(path, mmap_mode="r", allow_pickle=False)
    names = shard.dtype.names or ()
    if shard.ndim != 1 or names != ("digest", "check", "row") or shard.dtype != _record(shard.dtype["row"].shape[0]):
        raise ValueError(f"{path} is no shard")
    for i, digest in enumerate(shard["digest"].tolist()):
        if digest in wanted:
            row = np.array(shard[i]["row"])
            if zlib.crc32(digest + row.tobytes()) == shard[i]["check"]:
                yield digest, row


def _broadcast_rows(known: dict[int, np.ndarray], indices: list[int]) -> dict[int, np.ndarray]:
    """Send the rows of rank 0 to all processes."""
    state = PartialState()
    if state.num_processes == 1:
        return known
    width = torch.tensor([len(next(iter(known.values()))) if known else 0], device=state.device)
    width = int(broadcast(width).item())  # type: ignore[union-attr]
    known_flags = torch.tensor([index in known for index in indices], dtype=torch.int64, device=state.device)
    known_flags = broadcast(known_flags).cpu().bool().tolist()  # type: ignore[union-attr]
    known_indices = [index for index, is_known in zip(indices, known_flags, strict=True) if is_known]
    if not known_indices:
        return {}
    rows = (
        np.stack([known[index] for index in known_indices])
        if known
        else np.zeros((len(known_indices), width), np.float32)
    )
    rows = broadcast(torch.from_numpy(rows).to(state.device)).cpu().numpy()  # type: ignore[union-attr]
    return dict(zip(known_indices, rows, strict=True))


def _write_shard(directory: Path, digests: list[bytes], rows: np.ndarray) -> None:
    """Write one shard atomically, and evict others to stay within the limit.

    A directory that cannot be written is logged once.
    """
    shard = np.empty(len(rows), _record(rows.shape[1]))
    shard["digest"] = np.frombuffer(b"".join(digests), "V16")
    shard["check"] = [zlib.crc32(d + row.tobytes()) for d, row in zip(digests, rows, strict=True)]
    shard["row"] = rows
    if shard.nbytes > _MAX_BYTES:
        _log_once(f"{shard.nbytes / 1e9:.1f} GB are more than the cache holds")
        return
    partial = None
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, partial = tempfile.mkstemp(
            suffix=".part", dir=directory
        )  # readable by its owner alone: rows reveal the texts
        with os.fdopen(handle, "wb") as file:
            np.save(file, shard, allow_pickle=False)
        os.replace(partial, partial.removesuffix("part") + "npy")
        _evict()
    except OSError as error:
        if partial is not None:
            Path(partial).unlink(missing_ok=True)
        _log_once(error.strerror or str(error))


def _log_once(reason: str) -> None:
    if reason not in _logged:
        _logged.add(reason)
        log(
            f"cache: what was computed is not kept in {cache_directory()} ({reason}); set NLP_FT_CACHE to another folder"
        )


def _files(directory: Path, pattern: str = "*.npy") -> list[Path]:
    try:
        return sorted(path for path in directory.glob(pattern) if path.is_file())
    except OSError:
        return []


def _evict() -> None:
    """Remove the least recently used files until the directory is within its limit."""
    files = []
    for path in [*_files(cache_directory(), "*/*/*.npy"), *_files(cache_directory(), "*/*/*.part")]:
        with contextlib.suppress(OSError):  # another process removed it first
            files.append((path.stat().st_mtime_ns, path.stat().st_size, path))
    excess = sum(size for _, size, _ in files) - _MAX_BYTES
    for _, size, path in sorted(files):
        if excess <= 0:
            return
        with contextlib.suppress(OSError):
            path.unlink()
        excess -= size
