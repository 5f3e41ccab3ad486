"""The pooling file of sentence-transformers, 1_Pooling/config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict, Unpack

from transformers.utils.hub import cached_file

from nlp_ft.errors import ModelError
from nlp_ft.utils import write_json

POOLING_FILE = "1_Pooling/config.json"


def find_pooling_file(name: str, **hub: Unpack[HubOptions]) -> Path | None:
    """Path of the checkpoint's pooling file, or None where it has none."""
    path = cached_file(
        name,
        POOLING_FILE,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        **hub,
    )
    return None if path is None else Path(path)


def read_pooling_file(name: str, **hub: Unpack[HubOptions]) -> dict[str, object] | None:
    """Content of the checkpoint's pooling file, or None.

    Raises: ModelError if it is no JSON.
    """
    path = find_pooling_file(name, **hub)
    if path is None:
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ModelError(f"{name}: {POOLING_FILE} is no JSON: {error}.") from None


def write_pooling_file(directory: Path, settings: dict[str, object] | None) -> None:
    """Copy the pooling file into a saved encoder, for later runs to pool by.

    Nothing is written where there was none.
    """
    if settings is not None:
        write_json(directory / POOLING_FILE, settings)


class HubOptions(TypedDict, total=False):
    """Revision and cache directory for reading a checkpoint from the Hub."""

    revision: str
    cache_dir: str | None
