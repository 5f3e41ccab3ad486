"""A copy, in a fresh directory, of what may leave: nothing else is ever given to the client that sends."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path, PurePath

import yaml

from nlp_ft.errors import PushError
from nlp_ft.evaluation.report.model_card import bare_card, renamed
from nlp_ft.hub.allow_list import FOLDERS, SOURCES, is_allowed
from nlp_ft.hub.redact_paths import hide_paths
from nlp_ft.hub.secret_scan import check_contents, read_json


@dataclass(frozen=True)
class Staged:
    """`files`: paths inside `folder`, written with `/`; `left`: what stays at home, by its name; `notes`: what to say."""

    folder: Path
    files: list[str]
    left: list[str]
    notes: list[str]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum((self.folder / name).stat().st_size for name in self.files)


def stage(directory: Path, folder: Path, repo: str, token: str | None, licence: str | None = None) -> Staged:
    """Copy the allow-list of a model's directory into an empty folder; the card calls the model by its name on the Hub.

    token: the one in use, which must be in no file. Raises: PushError for a directory that is no model, a link or pickle in
    place of a file, a token or a path of this machine in one, or too little room.
    """
    found, left = _sorted_out(directory)
    if not {"config.json"} <= set(found) or not any(is_source(name) for name in found):
        raise PushError(f"{directory} holds no model: wanted config.json and weights in safetensors.")
    notes = _without_local_base(directory, found, left)
    needed = sum((directory / name).stat(follow_symlinks=False).st_size for name in found)
    if (free := shutil.disk_usage(folder).free) < needed:
        raise PushError(
            f"staging needs {needed / 1e9:.1f} GB in {folder.parent}, where {free / 1e9:.1f} GB are free; set TMPDIR to a "
            "directory with more room."
        )
    for name in found:
        _copy(directory / name, folder / name)
    _write_card(directory, folder, repo, licence)
    hide_paths(folder, directory)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    for name in files:
        check_contents(folder / name, name, token)
    return Staged(folder, files, left, notes)


def is_source(name: str) -> bool:
    """Whether a file holds the weights of the model at the root."""
    return any(PurePath(name).match(pattern) and "/" not in name for pattern in SOURCES)


def _sorted_out(directory: Path) -> tuple[list[str], list[str]]:
    """Names of what goes and of what stays, in order; a folder that stays is named by itself."""
    found, left = [], []
    for path in sorted(directory.iterdir()):
        if path.is_dir() and not path.is_symlink() and path.name in FOLDERS:
            for inner in sorted(path.iterdir()):
                name = f"{path.name}/{inner.name}"
                (found if is_allowed(name) else left).append(name)
        else:
            (found if is_allowed(path.name) else left).append(path.name + ("/" if path.is_dir() else ""))
    return found, left


def _without_local_base(directory: Path, found: list[str], left: list[str]) -> list[str]:
    """An adapter whose base is a directory of this machine is of use to nobody else.

    Raises: PushError if the adapter is all there is.
    """
    notes = []
    for folder in ("", "adapter/"):
        name = f"{folder}adapter_config.json"
        if name not in found:
            continue
        base = str(read_json(directory / name).get("base_model_name_or_path") or "")
        if not _is_local(base):
            continue
        if not folder:
            raise PushError(
                f"{directory} is an adapter over {base}, a directory of this machine that nobody else can load; train without "
                "--save_adapter_only, which merges it, or over a base from the Hub."
            )
        for other in [one for one in found if one.startswith(folder)]:
            found.remove(other)
            left.append(other)
        notes.append("adapter/ stays here: its base is a directory of this machine; the merged weights go")
    return notes


def _is_local(base: str) -> bool:
    path = Path(base).expanduser()
    return not base or path.is_absolute() or path.is_dir() or base.startswith(".")


def _copy(source: Path, target: Path) -> None:
    """Copy a real file, and nothing that only leads to one. Raises: PushError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(source, flags)
    except OSError as error:
        reason = "a link to another file" if source.is_symlink() else (error.strerror or str(error)).lower()
        raise PushError(f"{source}: {reason}; only files that lie there themselves are pushed.") from None
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise PushError(f"{source}: no regular file; only files that lie there themselves are pushed.")
        with target.open("xb") as copy:
            shutil.copyfileobj(file, copy, 2**20)


def _write_card(directory: Path, folder: Path, repo: str, licence: str | None) -> None:
    """Raises: PushError for metadata that the Hub would refuse, or for a licence that is no name of one."""
    path = folder / "README.md"
    config = read_json(folder / "config.json")
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    else:
        labels = [str(name) for name in config.get("id2label", {}).values()]
        text = bare_card(directory.name, labels, str(config.get("problem_type") or "classification"))
    try:
        path.write_text(renamed(text, directory.absolute().name, repo, licence), encoding="utf-8")
    except (ValueError, yaml.YAMLError) as error:
        raise PushError(f"README.md: its metadata is not valid: {' '.join(str(error).split())}.") from None
