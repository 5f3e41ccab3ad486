"""Copy the files that may be pushed into an empty directory.

The uploading process sees only this copy.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

import yaml

from nlp_ft.errors import PushError
from nlp_ft.evaluation.report.model_card import bare_card, directory_name, renamed
from nlp_ft.hub.allow_list import FOLDERS, GRAPH_FILES, WEIGHT_FILES, is_allowed
from nlp_ft.hub.redact_paths import hide_paths
from nlp_ft.hub.secret_scan import check_contents, read_json


@dataclass(frozen=True)
class Staged:
    """A staged copy.

    `files`: paths inside `folder`, written with `/`; `skipped`: names of files that are not pushed; `notes`: lines for the log.
    """

    folder: Path
    files: list[str]
    skipped: list[str]
    notes: list[str]

    @property
    def size(self) -> int:
        """Total size of the files in bytes."""
        return sum((self.folder / name).stat().st_size for name in self.files)


def stage(directory: Path, folder: Path, repo: str, token: str | None, licence: str | None = None) -> Staged:
    """Copy the allow-listed files of a model's directory into an empty folder.

    The graph of an export goes into onnx/, where other runtimes look for it. The copied card uses the name on the Hub.

    token: the token in use, which must be in no file.

    Raises: PushError for a directory without a model, a link or a pickle in place of a file, a token or a path of this machine
    in a file, and too little disk space.
    """
    alone = _is_graph_alone(directory)
    pushed, skipped = _partition_files(directory, "onnx" if alone else "")
    if not {"config.json"} <= set(pushed) or not (alone or any(is_weight_file(name) for name in pushed)):
        raise PushError(
            f"{directory} holds no model: wanted config.json and weights in safetensors, or an ONNX export."
        )
    notes = _drop_local_adapter(directory, pushed, skipped)
    needed = sum((directory / name).stat(follow_symlinks=False).st_size for name in pushed)
    if (free := shutil.disk_usage(folder).free) < needed:
        raise PushError(
            f"staging needs {needed / 1e9:.1f} GB in {folder.parent}, where {free / 1e9:.1f} GB are free; set TMPDIR to a "
            "directory with more space."
        )
    for name in pushed:
        in_onnx = alone and any(fnmatchcase(name, pattern) for pattern in GRAPH_FILES)
        _copy(directory / name, folder / "onnx" / name if in_onnx else folder / name)
    _write_card(directory, folder, repo, licence)
    hide_paths(folder, directory)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    for name in files:
        check_contents(folder / name, name, token)
    return Staged(folder, files, skipped, notes)


def is_weight_file(name: str) -> bool:
    """Return whether a file holds weights of the model at the root of the directory."""
    return any(PurePath(name).match(pattern) and "/" not in name for pattern in WEIGHT_FILES)


def _is_graph_alone(directory: Path) -> bool:
    """Return whether a directory is an ONNX export, with no weights of the model itself."""
    return any(directory.glob("model*.onnx")) and not any(directory.glob("*.safetensors"))


def _partition_files(directory: Path, listed_as: str = "") -> tuple[list[str], list[str]]:
    """Return the names to push and the names to skip, sorted.

    A skipped folder is one name. listed_as: the folder on the list that the directory itself is.
    """
    pushed, skipped = [], []
    for path in sorted(directory.iterdir()):
        if path.is_dir() and not path.is_symlink() and path.name in FOLDERS and not listed_as:
            for inner in sorted(path.iterdir()):
                name = f"{path.name}/{inner.name}"
                (pushed if is_allowed(name) else skipped).append(name)
        else:
            name = f"{listed_as}/{path.name}" if listed_as else path.name
            (pushed if is_allowed(name) else skipped).append(path.name + ("/" if path.is_dir() else ""))
    return pushed, skipped


def _drop_local_adapter(directory: Path, pushed: list[str], skipped: list[str]) -> list[str]:
    """Skip an adapter whose base is a local directory: nobody else can load it.

    Changes both lists in place. Returns: notes. Raises: PushError if there are no other weights.
    """
    notes = []
    for folder in ("", "adapter/"):
        name = f"{folder}adapter_config.json"
        if name not in pushed:
            continue
        base = str(_read_object(directory / name).get("base_model_name_or_path") or "")
        if not _is_local(base):
            continue
        if not folder:
            raise PushError(
                f"{directory} is an adapter over {base}, a directory of this machine that nobody else can load; train without "
                "--save_adapter_only, which merges it, or over a base from the Hub."
            )
        for other in [path for path in pushed if path.startswith(folder)]:
            pushed.remove(other)
            skipped.append(other)
        notes.append("adapter/ is not pushed: its base is a directory of this machine; the merged weights are")
    return notes


def _read_object(path: Path) -> Mapping[str, object]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise PushError(f"{path}: wanted a JSON object, got {type(content).__name__}.")
    return content


def _is_local(base: str) -> bool:
    path = Path(base).expanduser()
    return not base or path.is_absolute() or path.is_dir() or base.startswith(".")


def _copy(source: Path, target: Path) -> None:
    """Copy a regular file, following no link. Raises: PushError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(source, flags)
    except OSError as error:
        reason = "a link to another file" if source.is_symlink() else (error.strerror or str(error)).lower()
        raise PushError(f"{source}: {reason}; only regular files are pushed.") from None
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise PushError(f"{source}: not a regular file; only regular files are pushed.")
        with target.open("xb") as copy:
            shutil.copyfileobj(file, copy, 2**20)


def _write_card(directory: Path, folder: Path, repo: str, licence: str | None) -> None:
    """Write the card under the model's name on the Hub.

    Raises: PushError for metadata that the Hub would refuse, and for an unknown licence.
    """
    path = folder / "README.md"
    config = _read_object(folder / "config.json")
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    else:
        names = config.get("id2label")
        labels = [str(name) for name in names.values()] if isinstance(names, dict) else []
        inference = folder / "inference.json"
        pair = inference.is_file() and _read_object(inference).get("text_pair") is True
        kind = str(config.get("problem_type") or "classification")
        text = bare_card(directory_name(directory), labels, kind, pair)
    try:
        path.write_text(renamed(text, directory_name(directory), repo, licence), encoding="utf-8")
    except (ValueError, yaml.YAMLError) as error:
        raise PushError(f"README.md: its metadata is not valid: {' '.join(str(error).split())}.") from None
