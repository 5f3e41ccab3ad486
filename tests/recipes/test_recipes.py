"""Every command printed in the README, a recipe or a script is one that its program takes; every preset is read."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, RunCli

from nlp_ft.cli import main
from nlp_ft.cli.main import VERBS
from nlp_ft.config.flags import Flag
from nlp_ft.config.parser import all_flags
from nlp_ft.config.yaml_file import read_settings, read_yaml
from nlp_ft.errors import ConfigError, DataError, ModelError

PRESETS = sorted((ROOT / "recipes").glob("*.yaml"))
RECIPES = sorted((ROOT / "recipes").glob("*.py"))
DATA_FLAGS = re.compile(r"(?:meta_|source_)?(?:train|validation|test|text|probe|unlabelled)?_?file|tasks")
DATA_FILES = re.compile(r"data/(?:\w+/(?:train|validation|test)|bands/\w+|spam/messages)\.csv")
STARTS = r"(?:accelerate launch|torchrun|python(?: -m nlp_ft)?|nlp-ft|bash)"


def printed_in(path: Path) -> Iterator[str]:
    """The commands in a file: in Markdown those of its code blocks, elsewhere those that fill a comment or docstring line."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.S | re.M)
        text = "\n".join(block for language, block in blocks if language != "python")
    text = re.sub(r"\\\n\s*", " ", text)
    for line in text.splitlines():
        command = line.strip().removeprefix("#").removeprefix("$").strip()
        if re.match(rf"(?:{STARTS} \S*(?:recipes/|nlp_ft|--)|nlp-ft \w)", command) and "..." not in command:
            yield command


FILES = [ROOT / "README.md", *RECIPES, *PRESETS, *sorted((ROOT / "recipes/accelerate").glob("*.yaml"))]
COMMANDS = [(path.relative_to(ROOT).as_posix(), command) for path in FILES for command in printed_in(path)]
# The methods as the README's table has them: with one taken out of the tree, the commands of the others are still checked.
TOLD = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.M))


def settled(command: str) -> tuple[str, list[str]]:
    """(subcommand, its argv) of a command line, whichever way it starts."""
    tokens = shlex.split(command, comments=True)
    for i, token in enumerate(tokens):
        if token.startswith("recipes/") and token.endswith(".py"):
            return Path(token).stem, tokens[i + 1 :]
        if token in ("nlp-ft", "nlp_ft"):
            return tokens[i + 1], tokens[i + 2 :]
    raise AssertionError(f"no recipe and no nlp-ft in: {command}")


def flags_of_method(name: str) -> list[Flag]:
    return all_flags(importlib.import_module(f"nlp_ft.methods.{name}").ARGUMENTS)


def test_there_are_commands_to_check() -> None:
    assert {path for path, _ in COMMANDS} >= {"recipes/finetune.py", "recipes/finetune_movies.yaml"}


@pytest.mark.parametrize(("path", "command"), COMMANDS)
def test_a_printed_command_is_one_its_program_takes(
    path: str, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if command.startswith("bash "):
        assert (ROOT / shlex.split(command)[1]).is_file()
        return
    monkeypatch.chdir(ROOT)
    name, argv = settled(command)
    if name in VERBS:
        (tmp_path / "runs" / "reviews").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        with pytest.raises((ConfigError, DataError, ModelError, SystemExit)) as caught:  # there is no model in it
            VERBS[name](argv)
        assert not str(caught.value).startswith(f"nlp-ft {name}: "), str(caught.value)
    elif name in main.method_names() and not {"-h", "--help"} & set(argv):
        given = {setting.name for setting in read_settings(argv, flags_of_method(name))}
        assert {flag.name for flag in flags_of_method(name) if flag.required} <= given
    else:
        assert name in (*main.method_names(), *TOLD, "--help", "--version")


def test_the_readme_tells_of_every_method_and_shows_every_verb() -> None:
    assert set(main.method_names()) <= TOLD
    shown = {
        settled(command)[0] for path, command in COMMANDS if path == "README.md" and not command.startswith("bash ")
    }
    assert set(VERBS) <= shown


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
