"""Logging on rank 0, notes, atomic JSON files, package versions."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_PACKAGES = ("nlp_ft", "torch", "transformers", "datasets", "accelerate", "peft", "evaluate", "scikit-learn", "numpy")


class Note(str):
    """A sentence on a decision of a run, with its topic.

    Code picks notes by topic, never by their wording.
    """

    __slots__ = ("topic",)
    topic: str

    def __new__(cls, text: str, topic: str) -> Note:
        """text: the sentence; topic: such as `head` or `parameters`."""
        note = super().__new__(cls, text)
        note.topic = topic
        return note


def warning(text: str) -> Note:
    """A note of what may make the figures of a run wrong; the model card repeats it."""
    return Note(f"warning: {text}", "warning")


def without_topic(notes: Iterable[str], topic: str) -> list[str]:
    """The notes that are not on this topic; a plain string has none."""
    return [note for note in notes if getattr(note, "topic", None) != topic]


def log(*lines: str) -> None:
    """Print on rank 0 alone, and at once, however the output is buffered."""
    from accelerate import PartialState

    if lines and PartialState().is_main_process:
        print(*lines, sep="\n", flush=True)


def versions() -> dict[str, str]:
    """The versions a result depends on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # run from a source tree that is not installed
            found[package] = "not installed"
    return found


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(path)
