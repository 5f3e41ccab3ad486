"""Commands that are printed: taken out of documents, recipes and presets, and held against the programs that they call.

`check` refuses what it does not know: a program, a flag, a path, a package. Only commands of a method that was taken out of
the tree pass unread, so that the documents need not change with it.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from accelerate.commands.launch import launch_command_parser
from conftest import ROOT

from nlp_ft.cli.main import VERBS, method_names
from nlp_ft.config.flags import Flag
from nlp_ft.config.parser import all_flags, parse
from nlp_ft.config.yaml_file import read_settings
from nlp_ft.errors import ConfigError, DataError, ModelError

DOCUMENTS = sorted(
    path
    for pattern in ("*.md", ".github/*.md", "nlp_ft/**/*.md", "recipes/**/*.md", "tests/**/*.md")
    for path in ROOT.glob(pattern)
)
README = (ROOT / "README.md").read_text(encoding="utf-8")
TABLE_METHODS = set(re.findall(r"^\| `(\w+)` \|", README, re.M))  # the methods that the README's table names
LANGUAGES = {"bash", "python", "text"}
SHELL_SYNTAX = {"|", "||", "&&", "&", ";", ">", ">>", "<"}
PACKAGE_NAME = re.compile(r"[\w.-]+")


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, content) of every fenced block. Raises: AssertionError for a fence that is not closed or indented."""
    found: list[tuple[str, list[str]]] = []
    is_open = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            assert line.startswith("```"), f"an indented code fence: {line}"
            if not is_open:
                found.append((line[3:].strip(), []))
            is_open = not is_open
        elif is_open:
            found[-1][1].append(line)
    assert not is_open, "a code fence that is not closed"
    return [(language, "\n".join(lines)) for language, lines in found]


def prose(text: str) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M)


def spans(text: str) -> list[str]:
    """The inline code of a document, white space made single."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(text))]


def command_lines(block: str) -> list[str]:
    """Every line of a bash block but comments and blank lines, continued lines joined."""
    lines = re.sub(r"\\\n\s*", " ", block).splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def document_commands(path: Path) -> list[str]:
    """The commands in the bash blocks of a document."""
    text = path.read_text(encoding="utf-8")
    return [line for language, block in blocks(text) if language == "bash" for line in command_lines(block)]


def commented_commands(path: Path) -> Iterator[str]:
    """The commands that fill a line of a comment or docstring; `...` stands for more flags."""
    text = re.sub(r"\\\n\s*", " ", path.read_text(encoding="utf-8"))
    for line in text.splitlines():
        command = line.strip().removeprefix("#").removeprefix("$").strip()
        if re.match(r"(?:accelerate launch|python|bash) \S*(?:recipes/|tests/|nlp_ft|--)|nlp-ft \w", command):
            yield command


def check(command: str, folder: Path, *, whole: bool = True) -> None:
    """Hold a command against its program. folder: an empty one. whole: required flags must be there; False for prose."""
    tokens = shlex.split(command, comments=True)
    assert not SHELL_SYNTAX & set(tokens), f"one command a line: {command}"
    while tokens and re.fullmatch(r"[A-Z_]+=\S*", tokens[0]):
        tokens = tokens[1:]
    assert tokens, f"no command: {command}"
    program, *rest = tokens
    assert program in PROGRAMS, f"unknown command: {command}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        PROGRAMS[program](rest, folder, whole)


def flags_of_method(name: str) -> list[Flag]:
    """The flags of a method and of TrainingArguments."""
    return all_flags(importlib.import_module(f"nlp_ft.methods.{name}").ARGUMENTS)


def is_gone(path: str) -> bool:
    """Whether a path belongs to a method of the README that was taken out of the tree."""
    gone = TABLE_METHODS - set(method_names())
    return any(re.search(rf"(?:^|[/_]){name}(?:[/_.]|$)", path) for name in gone)


def require_path(path: str) -> None:
    """Refuse a path that the repository does not hold. Raises: AssertionError."""
    assert is_gone(path) or (ROOT / path).exists(), f"there is no {path}"


def check_method(name: str, argv: Sequence[str], whole: bool) -> None:
    """Parse the flags of a method. Raises: ConfigError, AssertionError."""
    if name not in method_names():
        assert name in TABLE_METHODS, f"unknown method: {name}"
    elif {"-h", "--help"} & set(argv):
        assert len(argv) == 1
    elif whole:
        parse(*importlib.import_module(f"nlp_ft.methods.{name}").ARGUMENTS, argv=argv)
    else:
        read_settings(argv, flags_of_method(name))


def _nlp_ft(argv: Sequence[str], folder: Path, whole: bool) -> None:
    name, *rest = argv or ["--help"]
    if name in ("--help", "--version"):
        assert not rest
    elif name in VERBS:
        _verb(name, rest, folder, whole)
    else:
        check_method(name, rest, whole)


def _verb(name: str, argv: Sequence[str], folder: Path, whole: bool) -> None:
    """Run a verb where there is neither a table nor a model: it ends at the first of them, after its flags were parsed."""
    (folder / "runs/reviews").mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with pytest.raises((ConfigError, DataError, ModelError)) as caught:
            VERBS[name](argv)
    if whole:  # the tests are offline, which a push refuses once its flags are parsed
        assert not isinstance(caught.value, ConfigError) or "HF_HUB_OFFLINE" in str(caught.value), str(caught.value)
    else:
        assert not re.search("unknown|unexpected|invalid|expected", str(caught.value)), str(caught.value)


def _accelerate(argv: Sequence[str], folder: Path, whole: bool) -> None:
    assert argv[0] == "launch", f"accelerate {argv[0]}"
    if argv == ["launch"] and not whole:
        return
    parser = launch_command_parser()
    try:
        args = parser.parse_args(
            argv[1:] if whole or "recipes/" in " ".join(argv) else [*argv[1:], "recipes/finetune.py"]
        )
    except SystemExit:
        raise AssertionError(f"accelerate does not take {argv}") from None
    if args.config_file is not None:
        require_path(args.config_file)
    if args.module:
        assert args.training_script == "nlp_ft"
        _nlp_ft(args.training_script_args, folder, whole)
    else:
        _script([args.training_script, *args.training_script_args], folder, whole)


def _script(argv: Sequence[str], folder: Path, whole: bool) -> None:
    path, *rest = argv
    require_path(path)
    if Path(path).parent == Path("recipes"):
        check_method(Path(path).stem, rest, whole)
    elif not is_gone(path):
        source = (ROOT / path).read_text(encoding="utf-8")
        for token in rest:
            assert not token.startswith("-") or f'"{token}"' in source, f"{path} has no flag {token}"


def _python(argv: Sequence[str], folder: Path, whole: bool) -> None:
    if argv[:2] == ["-m", "nlp_ft"]:
        _nlp_ft(argv[2:], folder, whole)
    elif argv[:2] == ["-m", "pytest"]:
        _pytest(argv[2:])
    elif argv[:2] == ["-m", "venv"]:
        assert argv[2:] == [".venv"]
    elif argv[0] == "-c":
        assert len(argv) == 2
        check_python(argv[1])
    else:
        _script(argv, folder, whole)


def _pytest(argv: Sequence[str]) -> None:
    rest = iter(argv)
    for token in rest:
        if token in ("-k", "-m"):
            assert next(rest, None), f"{token} needs a value"
        elif token not in ("-q", "-x"):
            require_path(token)


def _bash(argv: Sequence[str], folder: Path, whole: bool) -> None:
    path, *rest = argv
    assert path in ("recipes/quickstart.sh", "tests/run.sh"), f"bash {path}"
    require_path(path)
    if path == "recipes/quickstart.sh":
        read_settings(rest, flags_of_method("finetune"))
    else:
        _pytest(rest)


@functools.cache
def _extras() -> set[str]:
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def _pip(argv: Sequence[str], folder: Path, whole: bool) -> None:
    assert argv[0] == "install", f"pip {argv[0]}"
    installed = (ROOT / "recipes/setup.sh").read_text() + (ROOT / "tests/run.sh").read_text()
    rest = iter(argv[1:])
    for token in rest:
        if token == "-c":
            require_path(next(rest))
        elif spec := re.fullmatch(r"\.(?:\[([\w,]+)\])?", token):
            assert set((spec[1] or "").split(",")) - {""} <= _extras(), f"no such extra: {token}"
        elif token not in ("-e", "--no-deps"):
            assert PACKAGE_NAME.fullmatch(token), token
            assert f" {token}\n" in installed, f"no script installs {token}"


def _exactly(*allowed: str) -> Callable[[Sequence[str], Path, bool], None]:
    def check_words(argv: Sequence[str], folder: Path, whole: bool) -> None:
        assert " ".join(argv) in allowed, " ".join(argv)

    return check_words


PROGRAMS: dict[str, Callable[[Sequence[str], Path, bool], None]] = {
    "nlp-ft": _nlp_ft,
    "accelerate": _accelerate,
    "python": _python,
    "python3": _python,
    "bash": _bash,
    "pip": _pip,
    "source": _exactly(".venv/bin/activate"),
    "export": _exactly("HF_HUB_OFFLINE=1"),
    "ruff": _exactly("check .", "format ."),
    "pyright": _exactly(""),
    "hf": _exactly("auth login"),
}


def check_python(code: str) -> None:
    """Compile a snippet, and look up what it takes from nlp_ft. Raises: SyntaxError, AssertionError."""
    tree = ast.parse(code)
    compile(tree, "<document>", "exec")
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                assert importlib.util.find_spec(alias.name) is not None, f"no module {alias.name}"
                names[alias.asname or alias.name] = alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                resolve(f"{node.module}.{alias.name}")
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    names |= {"classifier": "nlp_ft.Classifier"}  # what `nlp_ft.load` returns
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            origin = names.get(node.value.id, "")
            if origin.partition(".")[0] == "nlp_ft":
                resolve(f"{origin}.{node.attr}")


def resolve(name: str) -> object:
    """What a dotted name stands for. Raises: AssertionError."""
    root, *rest = name.split(".")
    found: object = importlib.import_module(root)
    path = root
    for part in rest:
        path = f"{path}.{part}"
        if not hasattr(found, part):
            try:
                importlib.import_module(path)
            except ImportError:
                raise AssertionError(f"{name}: no {path}") from None
        found = getattr(found, part)
    return found
