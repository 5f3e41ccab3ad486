"""Apply a plan of --fix.

The drops and rewrites of all findings are written as new files, with a log of every change.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from nlp_ft.data import counted
from nlp_ft.data.checks.finding import Finding
from nlp_ft.data.checks.fix.edits import merged
from nlp_ft.data.checks.fix.files import Row, numbered_rows, write_rows
from nlp_ft.data.checks.fix.plan import Plan, plan
from nlp_ft.errors import ConfigError

if TYPE_CHECKING:
    from nlp_ft.data import Table

__all__ = ["Fixed", "Plan", "TextColumns", "apply", "plan", "require_free"]

CHANGES = "changes.csv"
_HEADER = ("split", "place", "check", "action", "before", "after", "reason")
_PART = "unfinished"  # everything is written in this subdirectory, and moved out of it when it is whole


class TextColumns(Protocol):
    """Names of the columns that hold the texts.

    The cells of `texts` are joined by `delimiter` to the text that was checked.
    """

    @property
    def texts(self) -> Sequence[str]: ...  # noqa: D102

    @property
    def text_pair(self) -> str | None: ...  # noqa: D102

    @property
    def delimiter(self) -> str: ...  # noqa: D102


class _RowWriter(Protocol):
    """A csv.writer."""

    def writerow(self, row: Iterable[object], /) -> object: ...


@dataclass(frozen=True)
class Fixed:
    """The written files.

    `files`: of each split. `kept`, `dropped`, `rewritten`: numbers of rows, by split. `changes`: the log of changes.
    """

    files: dict[str, Path]
    kept: dict[str, int]
    dropped: dict[str, int]
    rewritten: dict[str, int]
    changes: Path
    notes: list[str]

    def lines(self) -> list[str]:
        """Lines to print: one for each split, the log, the notes."""
        lines = [
            f"{split}: {counted(self.kept[split], 'row')} in {path} ({self.dropped[split]} dropped, "
            f"{self.rewritten[split]} rewritten)"
            for split, path in self.files.items()
        ]
        return [*lines, f"every change, with its reason: {self.changes}", *self.notes]


def require_free(out_dir: str | Path) -> None:
    """Require a new or empty directory to write to.

    Raises: ConfigError.
    """
    out = Path(out_dir)
    try:
        if out.is_dir() and (names := sorted(path.name for path in out.iterdir())):
            raise ConfigError(f"--fix {out} holds {names[0]} already; name another directory. Nothing is written over.")
    except PermissionError:
        raise ConfigError(f"--fix {out} cannot be read by this user; name another directory.") from None
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--fix {out} is a file; name a directory.")


def apply(plan: Plan, tables: Mapping[str, Table], columns: TextColumns, out_dir: str | Path) -> Fixed:
    r"""Write each table as planned, and `changes.csv`, into a directory.

    The tables stay as they are. The log has a line for each row dropped and each rewrite of a row, its texts joined as they
    were checked (with `\x00` for a NUL). It is moved into the directory last: if it is there, all files are complete.

    Raises: ConfigError if the directory holds something or cannot be written, DataError for a cell that cannot be written,
    ValueError if the tables are not those that were checked.
    """
    if (rows := {split: len(table) for split, table in tables.items()}) != plan.rows:
        raise ValueError(f"the tables have other rows ({rows}) than those that were checked ({plan.rows}).")
    out = Path(out_dir)
    require_free(out)
    new = not out.exists()
    try:
        (out / _PART).mkdir(parents=True)
        fixed = _write(plan, tables, columns, out)
        for file in [*fixed.files.values(), fixed.changes]:
            (out / _PART / file.name).replace(file)
        (out / _PART).rmdir()
    except BaseException as error:
        shutil.rmtree(out if new else out / _PART, ignore_errors=True)
        if isinstance(error, OSError):
            raise ConfigError(f"--fix {out} cannot be written: {error.strerror or error}.") from error
        raise
    return fixed


def _write(plan: Plan, tables: Mapping[str, Table], columns: TextColumns, out: Path) -> Fixed:
    fixed = Fixed({}, {}, {}, {}, out / CHANGES, list(plan.notes))
    with (out / _PART / CHANGES).open("x", encoding="utf-8", newline="") as handle:
        log = csv.writer(handle)
        log.writerow(_HEADER)
        for split, table in tables.items():
            mended = _Mended(plan, split, table, columns, log)
            path, fixed.kept[split], notes = write_rows(out / _PART, split, table, mended.rows())
            fixed.files[split] = out / path.name
            fixed.dropped[split], fixed.rewritten[split] = mended.dropped, mended.rewritten
            fixed.notes.extend([*notes, *mended.notes()])
    return fixed


class _Mended:
    """The rows of one split as they are to be written.

    Iterating over `rows` writes each change to the log.
    """

    def __init__(self, plan: Plan, split: str, table: Table, columns: TextColumns, log: _RowWriter) -> None:
        self.plan, self.split, self.table, self.columns, self.log = plan, split, table, columns, log
        names = list(table.columns)
        self.texts = [names.index(name) for name in columns.texts]
        self.pair = [names.index(columns.text_pair)] if columns.text_pair is not None else []
        self.dropped = self.rewritten = self.left_out = 0

    def rows(self) -> Iterator[Row]:
        drops, rewrites = self.plan.drops.get(self.split, {}), self.plan.rewrites.get(self.split, {})
        for number, cells in numbered_rows(self.table):
            if number in drops:
                self.drop(number, cells, [self.plan.findings[by] for by in drops[number]])
            elif number in rewrites:
                yield number, self.rewrite(number, cells, [self.plan.findings[by] for by in rewrites[number]])
            else:
                yield number, cells

    def drop(self, number: int, cells: Sequence[object], findings: list[Finding]) -> None:
        self.dropped += 1
        text = self.columns.delimiter.join(str(cells[column]) for column in self.texts)
        texts = [text, *(str(cells[column]) for column in self.pair)]
        checks = dict.fromkeys(finding.check for finding in findings)
        reasons = dict.fromkeys(finding.message for finding in findings)
        self.record(number, "; ".join(checks), "drop", "\n".join(texts), "", "; ".join(reasons))

    def rewrite(self, number: int, cells: Sequence[object], findings: list[Finding]) -> list[object]:
        parts = [str(cells[column]) for column in self.texts]
        before = self.columns.delimiter.join(parts)
        afters = [finding.rewrite[self.split][number] for finding in findings]
        steps, parts = merged(before, afters, parts, self.columns.delimiter)
        for step, finding in zip(steps, findings, strict=True):
            self.left_out += step.left_out > 0
            if step.after != step.before:
                self.record(number, finding.check, "rewrite", step.before, step.after, finding.message)
        self.rewritten += any(step.after != step.before for step in steps)
        new = list(cells)
        for column, part in zip(self.texts, parts, strict=True):
            new[column] = part
        return new

    def record(self, number: int, check: str, action: str, before: str, after: str, reason: str) -> None:
        texts = (text.replace("\0", "\\x00") for text in (before, after))
        self.log.writerow([self.split, self.table.where(number), check, action, *texts, reason])

    def notes(self) -> list[str]:
        """Note on the edits that were left out."""
        if not self.left_out:
            return []
        return [
            f"{self.split}: {counted(self.left_out, 'rewrite')} carried out in part, because another had changed the same "
            f"characters or they reach across two text columns; {CHANGES} shows what was done"
        ]
