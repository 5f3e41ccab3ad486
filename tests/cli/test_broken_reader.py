"""`| head`: what was asked for as a file is written, though who reads the terminal's lines has gone."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path

import pytest
from conftest import write_csv
from tiny import LABELS, TEXTS, save_classifier

from nlp_ft.cli.main import main


class _Gone(io.StringIO):
    """A pipe whose reader has closed it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def write(self, _: str) -> int:
        raise BrokenPipeError

    def fileno(self) -> int:
        return self._number


@pytest.mark.parametrize(
    ("verb", "flags", "written"),
    [
        ("data check {rows}", "--html {out}/page.html --json {out}/facts.json", ["page.html", "facts.json"]),
        ("evaluate --model {model} --input {rows}", "--output {out}/metrics.json", ["metrics.json"]),
        (
            "explain --model {model} --text so --steps 1",
            "--html {out}/a.html --json {out}/a.json",
            ["a.html", "a.json"],
        ),
    ],
)
def test_files_are_written_though_the_reader_has_gone(
    verb: str, flags: str, written: list[str], tiny_bert: Path, tmp_path: Path
) -> None:
    pytest.importorskip("captum")
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {name: i for i, name in enumerate(LABELS)}}
    model = save_classifier(tiny_bert, tmp_path / "model", num_labels=3, **names)
    write_csv(tmp_path / "rows.csv", [{"text": text, "label": LABELS[i % 3]} for i, text in enumerate(TEXTS)])
    (tmp_path / "out").mkdir()
    argv = f"{verb} {flags}".format(rows=tmp_path / "rows.csv", model=model, out=tmp_path / "out").split()
    number = os.open(os.devnull, os.O_WRONLY)
    try:
        with contextlib.redirect_stdout(_Gone(number)), contextlib.redirect_stderr(io.StringIO()) as err:
            assert main(argv) == 1
    finally:
        os.close(number)
    assert "Traceback" not in err.getvalue()
    for name in written:
        content = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert content.lower().startswith("<!doctype html>") if name.endswith("html") else json.loads(content)
