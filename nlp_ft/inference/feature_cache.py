"""Rows of numbers that cost a pass of a model (features, teacher logits), kept on disk by weights and by text.

A shard is one .npy file of records: digest of the text, checksum of the row, the row. What is broken, full or not allowed is
computed again or not kept, and never an error.
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

from nlp_ft.utils import log

_BYTES = 16  # of a digest
_LIMIT = 2 * 1024**3  # bytes of the whole folder
_WITHOUT_EFFECT = (  # of a configuration, on what a model computes in evaluation mode
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
_told: set[str] = set()


def folder() -> Path:
    """The folder rows: in $NLP_FT_CACHE, else in nlp_ft of $XDG_CACHE_HOME or of ~/.cache."""
    if own := os.environ.get("NLP_FT_CACHE"):
        return Path(own) / "rows"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nlp_ft" / "rows"


def row_digests(texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[bytes]:
    """16 bytes a row, of the exact text (and its pair)."""
    if pairs is None:
        return [_digest(text.encode("utf-8", "surrogatepass"), b"text") for text in texts]
    return [_digest(json.dumps(both).encode(), b"pair") for both in zip(texts, pairs, strict=True)]


def _digest(content: bytes, kind: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_BYTES, person=kind).digest()


def weights_key(model: nn.Module, tokenizer: Any, *more: Any, without: Sequence[nn.Module] = ()) -> str:
    """sha256 (hex) over everything a row depends on but its text.

    Names, types and bytes of all weights, the class, the configuration but for names and labels, adapters, the tokenizer, and
    `more` (the token limit, which layer is read: whatever else changes a row). without: modules of the model whose weights do
    not count, such as a last layer that has not been fitted.
    """
    key = hashlib.sha256()
    skipped = {id(parameter) for module in without for parameter in module.parameters()}
    for name, tensor in sorted(model.state_dict(keep_vars=True).items()):
        if id(tensor) not in skipped:
            key.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
            key.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    told: Any = model
    config = {name: value for name, value in told.config.to_dict().items() if name not in _WITHOUT_EFFECT}
    adapters = {name: part.to_dict() for name, part in (getattr(told, "peft_config", None) or {}).items()}
    said = [type(model).__name__, config, adapters, _serialised(tokenizer), *more]
    key.update(json.dumps(said, sort_keys=True, default=_plain).encode())
    return key.hexdigest()


def _plain(value: Any) -> Any:
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else str(value)


def _serialised(tokenizer: Any) -> list[Any]:
    """The tokenizer without the truncation and padding of its last call."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    form = sorted(tokenizer.get_vocab().items()) if backend is None else json.loads(backend.to_str())
    if isinstance(form, dict):
        form = {name: part for name, part in form.items() if name not in ("truncation", "padding")}
    sides = (tokenizer.padding_side, tokenizer.truncation_side)
    return [type(tokenizer).__name__, form, tokenizer.special_tokens_map, *sides, tokenizer.model_input_names]


def cached_rows(
    kind: str, key: str, digests: Sequence[bytes], compute: Callable[[list[int]], np.ndarray]
) -> np.ndarray:
    """Float32 (rows, width): the rows known under kind and key are read, the others computed and kept as one new shard.

    compute gets the places of the rows to compute, each digest once, and returns their rows (places, width); it is not called
    where nothing is missing. Under several processes the first one reads and writes and hands its rows to the others, and all
    of them call compute with the same places: it may share the work, as encoding.encode does.
    """
    place = folder() / kind / key
    main = PartialState().is_main_process
    first = {digest: i for i, digest in reversed(list(enumerate(digests)))}
    known = _read(place, first) if main else {}
    known = _share(known, list(first.values()))
    missing = sorted(set(first.values()) - known.keys())
    if missing:
        fresh = np.asarray(compute(missing), dtype=np.float32)
        known |= dict(zip(missing, fresh, strict=True))
        if main:
            _keep(place, [digests[i] for i in missing], fresh)
    if not digests:
        return np.asarray(compute([]), dtype=np.float32)
    return np.stack([known[first[digest]] for digest in digests])


def _record(width: int) -> np.dtype:
    return np.dtype([("digest", "V16"), ("check", "<u4"), ("row", "<f4", (width,))])


def _read(place: Path, wanted: dict[bytes, int]) -> dict[int, np.ndarray]:
    """Rows by place in the caller's list; shards and rows that are broken are passed over."""
    found: dict[int, np.ndarray] = {}
    for path in _files(place):
        with contextlib.suppress(OSError, ValueError, EOFError, SyntaxError):
            for digest, row in _whole_rows(path, wanted):
                if not found or row.shape == next(iter(found.values())).shape:
                    found[wanted[digest]] = row
            os.utime(path)  # what is used stays longest
    return found


def _whole_rows(path: Path, wanted: dict[bytes, int]) -> Iterator[tuple[bytes, np.ndarray]]:
    """(digest, row) of a shard's rows that are wanted and whole. Raises: ValueError, OSError for a file that is no shard."""
    shard = np.load(path, mmap_mode="r", allow_pickle=False)
    names = shard.dtype.names or ()
    if shard.ndim != 1 or names != ("digest", "check", "row") or shard.dtype != _record(shard.dtype["row"].shape[0]):
        raise ValueError(f"{path} is no shard")
    for i, digest in enumerate(shard["digest"].tolist()):
        if digest in wanted:
            row = np.array(shard[i]["row"])
            if zlib.crc32(digest + row.tobytes()) == shard[i]["check"]:
                yield digest, row


def _share(known: dict[int, np.ndarray], indices: list[int]) -> dict[int, np.ndarray]:
    """The first process's rows in all of them."""
    state = PartialState()
    if state.num_processes == 1:
        return known
    width = torch.tensor([len(next(iter(known.values()))) if known else 0], device=state.device)
    width = int(broadcast(width).item())  # type: ignore[union-attr]
    has = torch.tensor([place in known for place in indices], dtype=torch.int64, device=state.device)
    has = broadcast(has).cpu().bool().tolist()  # type: ignore[union-attr]
    held = [place for place, there in zip(indices, has, strict=True) if there]
    if not held:
        return {}
    rows = np.stack([known[place] for place in held]) if known else np.zeros((len(held), width), np.float32)
    rows = broadcast(torch.from_numpy(rows).to(state.device)).cpu().numpy()  # type: ignore[union-attr]
    return dict(zip(held, rows, strict=True))


def _keep(place: Path, digests: list[bytes], rows: np.ndarray) -> None:
    """Write one shard, whole or not at all, and make room for it; a folder that will not have it is said once."""
    shard = np.empty(len(rows), _record(rows.shape[1]))
    shard["digest"] = np.frombuffer(b"".join(digests), "V16")
    shard["check"] = [zlib.crc32(d + row.tobytes()) for d, row in zip(digests, rows, strict=True)]
    shard["row"] = rows
    if shard.nbytes > _LIMIT:
        _tell(f"{shard.nbytes / 1e9:.1f} GB are more than the cache holds")
        return
    part = None
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, part = tempfile.mkstemp(suffix=".part", dir=place)  # for its owner alone: rows tell of the texts
        with os.fdopen(handle, "wb") as file:
            np.save(file, shard, allow_pickle=False)
        os.replace(part, part.removesuffix("part") + "npy")
        _make_room()
    except OSError as error:
        if part is not None:
            Path(part).unlink(missing_ok=True)
        _tell(error.strerror or str(error))


def _tell(why: str) -> None:
    if why not in _told:
        _told.add(why)
        log(f"cache: what was computed is not kept in {folder()} ({why}); set NLP_FT_CACHE to another folder")


def _files(place: Path, pattern: str = "*.npy") -> list[Path]:
    try:
        return sorted(path for path in place.glob(pattern) if path.is_file())
    except OSError:
        return []


def _make_room() -> None:
    """Remove the files that were used longest ago until the folder is within its limit."""
    held = []
    for path in [*_files(folder(), "*/*/*.npy"), *_files(folder(), "*/*/*.part")]:
        with contextlib.suppress(OSError):  # another process was first
            held.append((path.stat().st_mtime_ns, path.stat().st_size, path))
    excess = sum(size for _, size, _ in held) - _LIMIT
    for _, size, path in sorted(held):
        if excess <= 0:
            return
        with contextlib.suppress(OSError):
            path.unlink()
        excess -= size
