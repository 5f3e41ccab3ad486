"""Every command, snippet, link, path and flag in a document is one that there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT
from printed import (
    DOCUMENTS,
    LANGUAGES,
    PROGRAMS,
    README,
    TABLE_METHODS,
    blocks,
    check,
    check_python,
    command_lines,
    document_commands,
    flags_of_method,
    is_gone,
    prose,
    resolve,
    spans,
)
from test_architecture import FLOORS, PACKAGE

from nlp_ft.cli.main import VERBS, method_names

TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in DOCUMENTS}
BLOCKS = [(name, language, block) for name, text in TEXTS.items() for language, block in blocks(text)]
COMMANDS = [(name, line) for name, language, block in BLOCKS if language == "bash" for line in command_lines(block)]
SPANS = [(name, span) for name, text in TEXTS.items() for span in dict.fromkeys(spans(text))]
LINKS = [(name, link) for name, text in TEXTS.items() for link in re.findall(r"\]\(([^)\s]+)\)", prose(text))]
MOVED = re.findall(r"^\| `([\w.]+)`.*\| (?:`([\w.]+)`|unchanged) \|$", TEXTS[".github/CHANGELOG.md"], re.M)


def test_these_are_the_documents() -> None:
    assert set(TEXTS) == {
        ".github/CHANGELOG.md",
        ".github/CONTRIBUTING.md",
        "README.md",
        "nlp_ft/README.md",
        "recipes/README.md",
        "tests/benchmarks/README.md",
    }


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len(README.splitlines()) <= 220


@pytest.mark.parametrize("name", TEXTS)
def test_every_block_says_what_it_is_and_output_holds_no_command(name: str) -> None:
    for language, block in blocks(TEXTS[name]):
        assert language in LANGUAGES, f"{name}: {language or 'a block without a language'}"
        if language == "text":
            first_words = {line.strip().removeprefix("$").strip().partition(" ")[0] for line in block.splitlines()}
            assert not first_words & PROGRAMS.keys()


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_a_command_is_one_its_program_takes(name: str, command: str, tmp_path: Path) -> None:
    check(command, tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        "nlp-ft train --train_file a.csv",
        "nlp-ft finetune --model_name_or_path x --output_dir y --train_fiel a.csv",
        "nlp-ft finetune --train_file a.csv",
        "nlp-ft predict --model runs/reviews --txt a",
        "nlp-ft predict --model runs/reviews",
        "nlp-ft data check a.csv --fixx b",
        "accelerate launch --config_file recipes/accelerate/none.yaml recipes/finetune.py --help",
        "accelerate launch recipes/none.py --help",
        "accelerate launch --no_such_flag recipes/finetune.py --help",
        "python recipes/data/none.py",
        "python recipes/data/score_bands.py --data data",
        "python -m pytest -q tests/none",
        "python -c 'import nlp_ft.none'",
        "bash recipes/none.sh",
        "pip install -e '.[none]'",
        "pip install somebodys-package",
        "bash tests/run.sh && rm -r runs",
        "make",
    ],
)
def test_a_command_that_no_program_takes_is_noticed(command: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, ValueError, ModuleNotFoundError)):
        check(command, tmp_path)


@pytest.mark.parametrize(
    ("name", "command"), [(name, span) for name, span in SPANS if span.partition(" ")[0] in PROGRAMS and " " in span]
)
def test_a_command_in_a_sentence_is_one_its_program_takes(name: str, command: str, tmp_path: Path) -> None:
    check(command, tmp_path, whole=False)


def known_flags() -> set[str]:
    """The flags of every method, verb, script and launcher."""
    sources = [*PACKAGE.glob("cli/*.py"), *ROOT.glob("recipes/data/*.py"), *ROOT.glob("tests/benchmarks/*.py")]
    found = {flag for path in sources for flag in re.findall(r'"(--\w+)"', path.read_text(encoding="utf-8"))}
    found |= {f"--{flag.name}" for name in method_names() for flag in flags_of_method(name)}
    return found | {"--config", "--help", "--cpu", "--num_processes"}


def test_a_flag_in_a_sentence_is_a_flag_of_some_program() -> None:
    told = {flag for _, span in SPANS for flag in re.findall(r"(?<![\w-])--[a-z]\w*", span)}
    assert told
    assert told <= known_flags() or set(method_names()) < TABLE_METHODS, told - known_flags()


@pytest.mark.parametrize(("name", "block"), [(n, block) for n, language, block in BLOCKS if language == "python"])
def test_a_snippet_compiles_and_its_imports_resolve(name: str, block: str) -> None:
    check_python(block)


@pytest.mark.parametrize("code", ["import nlp_ft.none", "from nlp_ft import none", "import nlp_ft\nnlp_ft.none(1)"])
def test_a_snippet_with_a_name_that_is_not_there_is_noticed(code: str) -> None:
    with pytest.raises((AssertionError, ModuleNotFoundError, AttributeError)):
        check_python(code)


@pytest.mark.parametrize(
    "dotted",
    sorted(
        {span.partition("(")[0] for name, span in SPANS if re.fullmatch(r"nlp_ft(\.\w+)+(\(.*\))?", span)}
        - {old for old, new in MOVED if new}
    ),
)
def test_a_dotted_name_in_a_sentence_resolves(dotted: str) -> None:
    resolve(dotted)


def test_the_changelog_tells_where_the_old_names_are() -> None:
    assert len(MOVED) > 10
    assert all(new != old for old, new in MOVED)


def anchors(text: str) -> set[str]:
    """The anchors that a page of this text has."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("name", "link"), LINKS)
def test_a_link_leads_to_a_file_and_a_heading_that_are_there(name: str, link: str) -> None:
    if link.startswith("https://"):
        return
    path, _, anchor = link.partition("#")
    target = (ROOT / name).parent / path if path else ROOT / name
    assert target.exists(), link
    if anchor:
        assert anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (name, span)
        for name, span in SPANS
        if re.fullmatch(r"(?:recipes|tests|nlp_ft|config|models|data|\.github)/[\w./-]*|\w+_\w+\.yaml", span)
    ],
)
def test_a_path_in_a_sentence_is_there(name: str, path: str) -> None:
    if "NAME" in path:
        assert (ROOT / path.partition("NAME")[0]).parent.is_dir()
        return
    places = (ROOT, ROOT / "recipes", ROOT / "recipes/accelerate", PACKAGE)
    assert is_gone(path) or any((place / path).exists() for place in places), path


def tree() -> dict[str, str]:
    """The tree of nlp_ft/README.md: every path in it, with what its line ends in."""
    block = next(block for language, block in blocks(TEXTS["nlp_ft/README.md"]) if language == "text")
    found, room = {}, ""
    for line in block.splitlines()[1:]:
        names = re.match(r"((?: ?[\w.]+(?:/|\.py))+)", line.strip())
        assert names is not None, line
        indent = len(line) - len(line.lstrip())
        if indent == 2:
            room = names[1] if names[1].endswith("/") else ""
        found |= {name if indent == 2 else room + name: line.split()[-1] for name in names[1].split()}
    return found


def test_the_tree_of_the_package_is_the_package() -> None:
    told = tree()
    for path in told:
        assert is_gone(f"nlp_ft/{path}") or (PACKAGE / path).exists(), path
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name in FLOORS} | {"errors", "utils"}
    floors = {path.removesuffix("/").removesuffix(".py"): end for path, end in told.items() if end.isdecimal()}
    assert floors == {room: str(FLOORS[room]) for room in rooms}
    folders = {f"{room.name}/{path.name}/" for room in PACKAGE.iterdir() if room.is_dir() for path in room.iterdir()}
    assert {name for name in folders if (PACKAGE / name).is_dir() and "__" not in name} <= told.keys()


def test_the_readme_tells_of_every_method_and_shows_every_verb() -> None:
    assert set(method_names()) <= TABLE_METHODS
    shown = {
        shlex.split(command)[1] for command in document_commands(ROOT / "README.md") if command.startswith("nlp-ft")
    }
    assert set(VERBS) <= shown
    assert all(f"[{name}](#{name})" in TEXTS["recipes/README.md"] for name in method_names())
