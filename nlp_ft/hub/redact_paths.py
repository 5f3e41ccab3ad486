"""Paths of the user's machine, taken out of what is staged: a name of a file may go, the directories it lies in stay."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

from nlp_ft.errors import PushError
from nlp_ft.hub.allow_list import RAW
from nlp_ft.hub.secret_scan import read_json

_POSIX = re.compile(r"""(?<![\w:/.\\~<-])~?/(?:[^\s'"`,;:()<>/]+/)+([^\s'"`,;:()<>/]*)""")
_WINDOWS = re.compile(r"""(?<!\w)[A-Za-z]:\\(?:[^\s'"`,;:()\\]+\\)*([^\s'"`,;:()\\]*)""")


def hide_paths(folder: Path, directory: Path) -> None:
    """Rewrite staged JSON and README.md in place; directory: where they were copied from.

    run.json: every absolute path, inside sentences too. Other JSON: values that are a path of something that exists here.

    Raises: PushError if the home directory or the model's own is named in a file nevertheless.
    """
    known: set[str] = {str(directory.absolute()), str(directory.resolve())}
    run = folder / "run.json"
    if run.is_file():
        held = read_json(run)
        known |= _absolute(held)
        _write(run, _mapped(held, lambda text: _without_paths(text, known)))
    for path in sorted(folder.rglob("*.json")):
        if path.name in RAW or path == run:
            continue
        held = read_json(path)
        hidden = _mapped(held, lambda text: PurePath(text).name if _exists(text) else text)
        if hidden != held:
            _write(path, hidden)
    card = folder / "README.md"
    if card.is_file():
        card.write_text(_replaced(card.read_text(encoding="utf-8"), known), encoding="utf-8")
    _check(folder, directory)


def _check(folder: Path, directory: Path) -> None:
    """The last look, which also finds what a user wrote by hand."""
    private = {str(Path.home()), str(directory.absolute().parent), str(directory.resolve().parent)}
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".json", ".md", ".yaml") or path.name in RAW or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        for place in private:
            if len(place) > 1 and re.search(rf"(?<![\w/.-]){re.escape(place)}/", text):
                name = path.relative_to(folder).as_posix()
                raise PushError(f"{name} names {place}/..., a directory of this machine; take it out.")


def _absolute(held: Any) -> set[str]:
    """Every string that is an absolute path as a whole, spaces and all."""
    found: set[str] = set()

    def note(text: str) -> str:
        if _is_path(text):
            found.add(text)
        return text

    _mapped(held, note)
    return found


def _is_path(text: str) -> bool:
    path = PurePath(text)
    if "\n" in text or len(text) > 1024:
        return False
    return (path.is_absolute() and len(path.parts) > 2) or PureWindowsPath(text).drive.endswith(":")


def _exists(text: str) -> bool:
    return _is_path(text) and Path(text).exists()


def _without_paths(text: str, known: set[str]) -> str:
    if _is_path(text):
        return PureWindowsPath(text).name if "\\" in text else PurePath(text).name
    text = _replaced(text, known)
    return _WINDOWS.sub(r"\1", _POSIX.sub(r"\1", text))


def _replaced(text: str, known: set[str]) -> str:
    for path in sorted(known, key=len, reverse=True):
        text = text.replace(path, PurePath(path).name)
    return text


def _mapped(held: Any, change: Callable[[str], str]) -> Any:
    """The same JSON with every string changed, keys too."""
    if isinstance(held, dict):
        return {change(key): _mapped(value, change) for key, value in held.items()}
    if isinstance(held, list):
        return [_mapped(value, change) for value in held]
    return change(held) if isinstance(held, str) else held


def _write(path: Path, held: Any) -> None:
    path.write_text(json.dumps(held, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
