"""Every command printed in a recipe, preset or script is one that its program takes; every preset is read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import ROOT, RunCli
from printed import check, commented_commands, flags_of_method

from nlp_ft.cli import main
from nlp_ft.config.yaml_file import read_yaml

PRESETS = sorted((ROOT / "recipes").glob("*.yaml"))
RECIPES = sorted((ROOT / "recipes").glob("*.py"))
DATA_FLAGS = re.compile(r"(?:meta_|source_)?(?:train|validation|test|text|probe|unlabelled)?_?file|tasks")
DATA_FILES = re.compile(r"data/(?:\w+/(?:train|validation|test)|bands/\w+|spam/messages)\.csv")
FILES = [
    *RECIPES,
    *PRESETS,
    *(path for kind in ("accelerate/*.yaml", "data/*.py", "*.sh") for path in sorted((ROOT / "recipes").glob(kind))),
    *sorted((ROOT / "tests/benchmarks").glob("*.py")),
    ROOT / "tests/run.sh",
]
COMMANDS = [(path.relative_to(ROOT).as_posix(), command) for path in FILES for command in commented_commands(path)]


def test_every_file_prints_its_command() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in FILES}
    assert {path for path, _ in COMMANDS} == names - {"recipes/setup.sh"}  # which is sourced


@pytest.mark.parametrize(("path", "command"), COMMANDS)
def test_a_printed_command_is_one_its_program_takes(path: str, command: str, tmp_path: Path) -> None:
    check(command.partition(" [")[0], tmp_path)  # of a script, its further arguments in brackets


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.name)
def test_a_preset_is_headed_by_its_command_and_sets_known_flags(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(
        f"# accelerate launch recipes/{path.stem.partition('_')[0]}.py --config recipes/{path.name}"
    )
    known = {flag.name: flag for flag in flags_of_method(path.stem.partition("_")[0])}
    assert read_yaml(str(path), known)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.name)
def test_a_preset_names_files_that_the_data_script_writes(path: Path) -> None:
    known = {flag.name: flag for flag in flags_of_method(path.stem.partition("_")[0])}
    values = [
        value
        for setting in read_yaml(str(path), known)
        if DATA_FLAGS.fullmatch(setting.name)
        for value in setting.values
    ]
    assert values
    for file in re.findall(r"[\w./]+\.csv", " ".join(values)):
        assert DATA_FILES.fullmatch(file)


def test_every_method_has_a_recipe_of_its_name() -> None:
    assert {path.stem for path in RECIPES} == set(main.method_names())


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_a_recipe_is_a_few_lines_and_answers_help(path: Path, run_process: RunCli) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 15
    code, out, err = run_process([path, "--help"])
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: nlp-ft {path.stem} ")
