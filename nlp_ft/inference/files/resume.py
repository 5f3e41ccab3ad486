"""OUTPUT.part: the directory of finished blocks, until they are joined.

Each block is a file that is written atomically.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from nlp_ft.errors import ConfigError
from nlp_ft.inference.files.formats import Format

_MANIFEST, _JOINED, _UNFINISHED = "manifest.json", "whole", ".tmp"
_TOLERANCE = 1e-4  # of a model's logits from run to run; other models differ by more
_POLL_SECONDS = 0.1  # between two checks for a file of another process


class PartFiles:
    """The directory beside an output that holds its finished blocks.

    manifest.json records what the blocks depend on; a block is a file named by its number. Every file is written under another
    name and renamed, so that a process may be killed at any moment.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.directory = output.with_name(f"{output.name}.part")

    def require_free(self) -> None:
        """Refuse an output that exists.

        It may exist where only the cleaning up of its run is left. Raises: ConfigError.
        """
        if self.output.exists() and not self.is_published():
            raise ConfigError(f"{self.output} is there already; name another. Nothing is written over.")
        if self.directory.exists() and not self.directory.is_dir():
            raise ConfigError(
                f"{self.directory} is there and no directory; the parts of {self.output.name} belong there."
            )

    def is_published(self) -> bool:
        """Whether the output is the file that was joined here."""
        joined = self.directory / _JOINED
        return joined.exists() and self.output.exists() and joined.samefile(self.output)

    def agree_on_manifest(self, made_of: Mapping[str, object], main: bool) -> None:
        """Write the manifest, or compare it with the one that is there.

        Rank 0 writes it, the others wait for it. made_of: what the blocks depend on, by names a user knows. Raises:
        ConfigError.
        """
        manifest = self.directory / _MANIFEST
        wanted = json.loads(json.dumps(made_of))
        if main and not manifest.exists():
            if any(not entry.name.endswith(_UNFINISHED) for entry in self.directory.iterdir()):
                raise ConfigError(f"{self.directory} is there and no cut run; move it, or name another output.")
            with atomic_writer(manifest) as handle:
                handle.write(json.dumps(wanted, indent=1).encode())
        _wait_for(manifest, self.output)
        if not main and self.output.exists():  # the run is over, and its parts may be gone
            return
        saved = json.loads(manifest.read_bytes())
        changed = [name for name in wanted if not _alike(saved.get(name), wanted[name])]
        if changed:
            raise ConfigError(
                f"{self.directory} holds part of another run: {changed[0]} changed since; delete it to begin anew, or name "
                "another output."
            )

    def done(self, blocks: int) -> set[int]:
        """Numbers of the finished blocks: all, where the output exists already."""
        if self.output.exists():
            return set(range(blocks))
        return {int(entry.name) for entry in self.directory.iterdir() if entry.name.isdecimal()}

    def write(self, number: int, write: Callable[[IO[bytes]], None]) -> None:
        """Write a block by the given function."""
        with atomic_writer(self._path(number)) as handle:
            write(handle)

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:08d}"

    def finish(self, output_format: Format, blocks: int) -> None:
        """Wait for other processes, join the blocks, publish the output, clean up."""
        joined = self.directory / _JOINED
        if not self.is_published():
            for number in range(blocks):
                _wait_for(self._path(number))
            with atomic_writer(joined) as handle:
                output_format.join(map(self._path, range(blocks)), handle)
            _publish(joined, self.output)
        self.clean_up()

    def clean_up(self) -> None:
        """Remove the parts; the file that identifies the output goes last."""
        last = (_JOINED, _MANIFEST)
        for entry in sorted(
            self.directory.iterdir(), key=lambda entry: last.index(entry.name) if entry.name in last else -1
        ):
            entry.unlink()
        self.directory.rmdir()

    def wait_until_published(self) -> None:
        """Wait until rank 0 has published the output."""
        _wait_for(self.output)

    @contextmanager
    def locked(self, main: bool) -> Iterator[None]:
        """Context: no other run writes here.

        Raises: ConfigError where one does.
        """
        if not main:
            yield
            return
        self.directory.mkdir(exist_ok=True)
        handle = os.open(self.directory, os.O_RDONLY)
        try:
            _lock(handle, self.directory)
            yield
        finally:
            os.close(handle)


def _lock(handle: int, directory: Path) -> None:
    """Lock a directory for as long as its handle is open.

    Nothing is done where the system has no such locks.
    """
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(
            f"{directory} is being written by another run; wait for it, or name another output."
        ) from None
    except OSError:  # a file system without locks
        return


@contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write that gets its name when it is complete and synced."""
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


def _publish(joined: Path, output: Path) -> None:
    """Give a file the name of the output, if nothing has it.

    Raises: ConfigError.
    """
    try:
        os.link(joined, output)
    except OSError as error:
        if isinstance(error, FileExistsError) or output.exists():
            raise ConfigError(f"{output} has come to be there; move it, and give the same command again.") from None
        joined.rename(output)  # a file system without links


def _wait_for(*paths: Path) -> None:
    """Wait until one of these files exists."""
    while not any(path.exists() for path in paths):
        time.sleep(_POLL_SECONDS)


def _alike(saved: object, wanted: object) -> bool:
    """Whether two values are equal, or differ in logits by rounding alone."""
    if not (isinstance(saved, dict) and isinstance(wanted, dict) and "logits" in saved and "logits" in wanted):
        return saved == wanted
    old, new = np.array(saved["logits"], dtype=float), np.array(wanted["logits"], dtype=float)
    rest = [{name: inner for name, inner in value.items() if name != "logits"} for value in (saved, wanted)]
    return (
        rest[0] == rest[1]
        and old.shape == new.shape
        and np.allclose(old, new, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True)
    )
