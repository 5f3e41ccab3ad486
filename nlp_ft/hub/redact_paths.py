"""Remove paths of the user's machine from the staged files.

A path is replaced by its file name, so that no directory is published.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path, PurePath, PureWindowsPath

from nlp_ft.errors import PushError
from nlp_ft.hub.allow_list import VOCABULARIES
from nlp_ft.hub.secret_scan import read_json

_POSIX = re.compile(r"""(?<![\w:/.\\~<-])~?/(?:[^\s'"`,;:()<>/]+/)+([^\s'"`,;:()<>/]*)""")
_WINDOWS = re.compile(r"""(?<!\w)[A-Za-z]:\\(?:[^\s'"`,;:()\\]+\\)*([^\s'"`,;:()\\]*)""")


def hide_paths(folder: Path, directory: Path) -> None:
    """Rewrite staged JSON files and README.md in place.

    directory: the one they were copied from. In run.json every absolute path is replaced, inside sentences too; in other JSON
    the values that are a path of an existing file.

    Raises: PushError if a file still names the home directory or the parent of the model's directory.
    """
    private_paths: set[str] = {str(directory.absolute()), str(directory.resolve())}
    run = folder / "run.json"
    if run.is_file():
        content = read_json(run)
        private_paths |= _absolute_paths(content)
        _write(run, _map_strings(content, lambda text: _without_paths(text, private_paths)))
    for path in sorted(folder.rglob("*.json")):
        if path.name in VOCABULARIES or path == run:
            continue
        content = read_json(path)
        hidden = _map_strings(content, lambda text: PurePath(text).name if _exists(text) else text)
        if hidden != content:
            _write(path, hidden)
    card = folder / "README.md"
    if card.is_file():
        card.write_text(_replace_all(card.read_text(encoding="utf-8"), private_paths), encoding="utf-8")
    _check_no_private_directory(folder, directory)


def _check_no_private_directory(folder: Path, directory: Path) -> None:
    """Check the result, text written by hand included. Raises: PushError."""
    private = {str(Path.home()), str(directory.absolute().parent), str(directory.resolve().parent)}
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".json", ".md", ".yaml") or path.name in VOCABULARIES or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        for parent in private:
            if len(parent) > 1 and re.search(rf"(?<![\w/.-]){re.escape(parent)}/", text):
                name = path.relative_to(folder).as_posix()
                raise PushError(f"{name} names {parent}/..., a directory of this machine; remove it.")


def _absolute_paths(content: object) -> set[str]:
    """Return every string that as a whole is an absolute path, spaces included."""
    paths: set[str] = set()

    def collect(text: str) -> str:
        if _is_path(text):
            paths.add(text)
        return text

    _map_strings(content, collect)
    return paths


def _is_path(text: str) -> bool:
    path = PurePath(text)
    if "\n" in text or len(text) > 1024:
        return False
    return (path.is_absolute() and len(path.parts) > 2) or PureWindowsPath(text).drive.endswith(":")


def _exists(text: str) -> bool:
    return _is_path(text) and Path(text).exists()


def _without_paths(text: str, private_paths: set[str]) -> str:
    if _is_path(text):
        return PureWindowsPath(text).name if "\\" in text else PurePath(text).name
    text = _replace_all(text, private_paths)
    return _WINDOWS.sub(r"\1", _POSIX.sub(r"\1", text))


def _replace_all(text: str, private_paths: set[str]) -> str:
    for path in sorted(private_paths, key=len, reverse=True):
        text = text.replace(path, PurePath(path).name)
    return text


def _map_strings(content: object, change: Callable[[str], str]) -> object:
    """Return the JSON value with `change` applied to every string, keys included."""
    if isinstance(content, dict):
        return {change(key): _map_strings(value, change) for key, value in content.items()}
    if isinstance(content, list):
        return [_map_strings(value, change) for value in content]
    return change(content) if isinstance(content, str) else content


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
