"""OUTPUT.part: the blocks that are done, each a file that is whole or not there, until they are joined into the output."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from nlp_ft.errors import ConfigError
from nlp_ft.inference.files.formats import Format

_MANIFEST, _WHOLE, _UNFINISHED = "manifest.json", "whole", ".tmp"
_CLOSE = 1e-4  # logits of one model on one kind of machine; another model's are further away
_WAIT = 0.1  # seconds between two looks for what another process is to write


class PartFiles:
    """The directory beside an output in which its blocks wait.

    manifest.json says what they were made of; a block is a file of its number. Every file is written under another name and
    renamed, so that a process may be killed at any moment.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output.with_name(f"{output.name}.part")

    def require_free(self) -> None:
        """Raises: ConfigError where the output is there, but not where all that is left of its run is to tidy up."""
        if self.output.exists() and not self.is_published():
            raise ConfigError(f"{self.output} is there already; name another. Nothing is written over.")
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigError(f"{self.folder} is there and no directory; the parts of {self.output.name} belong there.")

    def is_published(self) -> bool:
        """Whether the output is the one that was joined here."""
        whole = self.folder / _WHOLE
        return whole.exists() and self.output.exists() and whole.samefile(self.output)

    def agree_on_manifest(self, made_of: Mapping[str, Any], logits: np.ndarray, main: bool) -> None:
        """Say what the parts are made of, or agree with what is said; the main process says it, the others wait for it.

        made_of: by what a user would call it. logits: the model's, of a few texts. Raises: ConfigError.
        """
        manifest = self.folder / _MANIFEST
        said = json.loads(json.dumps({**made_of, "the model": {**made_of["the model"], "logits": logits.tolist()}}))
        if main and not manifest.exists():
            if any(not entry.name.endswith(_UNFINISHED) for entry in self.folder.iterdir()):
                raise ConfigError(f"{self.folder} is there and no cut run; move it, or name another output.")
            with atomic_writer(manifest) as handle:
                handle.write(json.dumps(said, indent=1).encode())
        _wait_for(manifest, self.output)
        if not main and self.output.exists():  # the run is over, and its parts may be gone
            return
        held = json.loads(manifest.read_bytes())
        changed = [name for name in said if not _alike(held.get(name), said[name])]
        if changed:
            raise ConfigError(
                f"{self.folder} holds part of another run: {changed[0]} changed since; delete it to begin anew, or name "
                "another output."
            )

    def done(self, blocks: int) -> set[int]:
        """Which of so many blocks are there: all, where they are the output already."""
        if self.output.exists():
            return set(range(blocks))
        return {int(entry.name) for entry in self.folder.iterdir() if entry.name.isdecimal()}

    def write(self, number: int, write: Callable[[IO[bytes]], None]) -> None:
        """A block, by what writes it."""
        with atomic_writer(self._path(number)) as handle:
            write(handle)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}"

    def finish(self, form: Format, blocks: int) -> None:
        """Wait for what other processes still write, join the blocks, put the whole in its place, and tidy up."""
        whole = self.folder / _WHOLE
        if not self.is_published():
            for number in range(blocks):
                _wait_for(self._path(number))
            with atomic_writer(whole) as handle:
                form.join(map(self._path, range(blocks)), handle)
            _place(whole, self.output)
        self.tidy()

    def tidy(self) -> None:
        """Remove the parts; what tells that the output is theirs goes last."""
        last = (_WHOLE, _MANIFEST)
        for entry in sorted(
            self.folder.iterdir(), key=lambda entry: last.index(entry.name) if entry.name in last else -1
        ):
            entry.unlink()
        self.folder.rmdir()

    def wait_until_published(self) -> None:
        """Wait for the main process."""
        _wait_for(self.output)

    @contextmanager
    def held(self, main: bool) -> Iterator[None]:
        """Within: no other run writes here. Raises: ConfigError where one does."""
        if not main:
            yield
            return
        self.folder.mkdir(exist_ok=True)
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            _lock(handle, self.folder)
            yield
        finally:
            os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    """Lock a directory for as long as its handle is open; not at all where the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"{folder} is being written by another run; wait for it, or name another output.") from None
    except OSError:  # a file system without locks
        return


@contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that has its name only when it is whole and on the disk."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}{_UNFINISHED}")
    try:
        with unfinished.open("wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _place(whole: Path, output: Path) -> None:
    """Give a file its name, if nothing has it. Raises: ConfigError."""
    try:
        os.link(whole, output)
    except OSError as error:
        if isinstance(error, FileExistsError) or output.exists():
            raise ConfigError(f"{output} has come to be there; move it, and give the same command again.") from None
        whole.rename(output)  # a file system without links


def _wait_for(*paths: Path) -> None:
    """Wait until one of these files is there."""
    while not any(path.exists() for path in paths):
        time.sleep(_WAIT)


def _alike(held: Any, said: Any) -> bool:
    """Equal, but for logits, which are close."""
    if not (isinstance(held, dict) and isinstance(said, dict) and "logits" in held and "logits" in said):
        return held == said
    one, other = np.array(held["logits"], dtype=float), np.array(said["logits"], dtype=float)
    rest = [{name: value for name, value in given.items() if name != "logits"} for given in (held, said)]
    return (
        rest[0] == rest[1]
        and one.shape == other.shape
        and np.allclose(one, other, rtol=_CLOSE, atol=_CLOSE, equal_nan=True)
    )
