"""Scan staged files for tokens, pickles, and content of another format.

The format is that of the file name.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from nlp_ft.errors import PushError

_SECRET = re.compile(rb"hf_[A-Za-z0-9]{30,}")
_LONGEST_SECRET = 512
_CHUNK_BYTES = 16 * 2**20
_TEXT = {".json", ".md", ".yaml", ".txt", ".jinja"}


def check_contents(path: Path, name: str, token: str | None) -> None:
    """Scan every byte of a staged file.

    name: its path on the Hub. token: the token in use. Raises: PushError that names the file.
    """
    _check_kind(path, name)
    secret = token.encode() if token else None
    tail = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            window = tail + chunk
            if _SECRET.search(window) or (secret is not None and secret in window):
                raise PushError(f"{name} holds an access token of the Hub; remove it and revoke the token.")
            tail = window[-_LONGEST_SECRET:]


def _check_kind(path: Path, name: str) -> None:
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 1))
        last = file.read(1)
    is_pickle = head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and last == b"."
    if is_pickle or head == b"PK\x03\x04":
        raise PushError(f"{name} is a pickle by its content, which runs code when it is loaded; it is not pushed.")
    if path.suffix == ".safetensors":
        _check_safetensors(path, name)
    elif path.suffix in _TEXT:
        _check_text(path, name)


def _check_safetensors(path: Path, name: str) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            file.keys()
    except SafetensorError as error:
        raise PushError(f"{name} is no safetensors file: {error}.") from None


def _check_text(path: Path, name: str) -> None:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            json.loads(text)
    except ValueError as error:  # includes invalid UTF-8
        raise PushError(f"{name} is no {'JSON' if path.suffix == '.json' else 'UTF-8 text'}: {error}.") from None


def read_json(path: Path) -> object:
    """Read a JSON file. Raises: PushError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PushError(f"{path}: cannot be read as JSON: {error}.") from None
