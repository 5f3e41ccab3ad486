"""The shape of the package: imports go downwards, methods stand alone, and importing nlp_ft costs nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT, RunCli

import nlp_ft

PACKAGE = ROOT / "nlp_ft"
LAYERS = {
    0: ["errors"],
    1: ["config", "flags", "flag_names", "flag_help", "settings", "training_flags"],
    3: ["methods"],
    4: ["cli", "verbs"],
    5: ["__init__", "__main__"],
}  # everything else is layer 2


def files() -> Iterator[tuple[str, Path]]:
    """Every module as `nlp_ft/data/split.py` -> ("data.split", path)."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts), path


def layer(module: str) -> int:
    return next((number for number, names in LAYERS.items() if module.partition(".")[0] in names), 2)


def imports(path: Path, *, run_time: bool = False) -> set[str]:
    """Every module a file imports, at the top or inside; with run_time, without those for the type checker alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if run_time:
        tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            assert PACKAGE not in path.parents, f"{path}: relative import"
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if _is_module(name) else node.module for name in whole}
    return found


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return name.startswith("nlp_ft.") and (path.is_dir() or path.with_suffix(".py").is_file())


def own(path: Path, *, run_time: bool = False) -> set[str]:
    """The modules of nlp_ft a file imports, without `nlp_ft.`."""
    names = imports(path, run_time=run_time)
    return {
        name.removeprefix("nlp_ft.") if "." in name else "__init__" for name in names if name.split(".")[0] == "nlp_ft"
    }


MODULES = dict(files())


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_downwards(module: str) -> None:
    upwards = {name for name in own(MODULES[module]) if layer(name) > layer(module)}
    assert not upwards


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter({module: own(path, run_time=True) for module, path in MODULES.items()}).prepare()


@pytest.mark.parametrize("module", [name for name in MODULES if layer(name) == 3])
def test_a_method_imports_no_other_method(module: str) -> None:
    """Its tensors may stand in files of its own: `methods/meta.py` has `methods/_meta.py` and `methods/_meta_episodes.py`."""
    name = _method(module)
    others = {other.rpartition(".")[2] for other in own(MODULES[module]) if layer(other) == 3}
    assert {other for other in others if not other.startswith(f"_{name}")} <= {name}


def test_a_method_can_be_taken_out_with_its_files() -> None:
    """Its module and `_NAME*` beside it, recipe, presets, tests; `finetune` alone, which the tests of all use, stays."""
    paths = {
        path.relative_to(ROOT) for folder in ("nlp_ft", "recipes", "tests") for path in (ROOT / folder).rglob("*.py")
    }
    strangers = [
        f"{path}: {name}"
        for path in sorted(paths)
        for name in sorted(imports(ROOT / path))
        if name.startswith("nlp_ft.methods.") and (method := _method(name)) != "finetune"
        if path.as_posix()
        not in (f"nlp_ft/methods/{method}.py", f"recipes/{method}.py", f"tests/methods/test_{method}.py")
        if not path.as_posix().startswith(f"nlp_ft/methods/_{method}")
    ]
    assert not strangers


def _method(module: str) -> str:
    """The method that `nlp_ft.methods.meta` or `nlp_ft.methods._meta_episodes` belongs to."""
    return module.rpartition(".")[2].lstrip("_").partition("_")[0]


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("data")])
def test_only_data_knows_the_insides_of_data(module: str) -> None:
    assert not {name for name in own(MODULES[module]) if name.startswith("data.")}


def test_nothing_in_the_package_imports_a_recipe_or_a_test() -> None:
    used = {name.partition(".")[0] for path in MODULES.values() for name in imports(path)}
    assert not used & {"recipes", "tests", "conftest"}


def test_peft_is_imported_where_adapters_are_made_loaded_and_saved_alone() -> None:
    users = {
        name for name, path in MODULES.items() if any(i.split(".")[0] == "peft" for i in imports(path, run_time=True))
    }
    assert users <= {"lora", "adapters"}


@pytest.mark.parametrize("module", ["nlp_ft", "nlp_ft.cli", "nlp_ft.methods.finetune", "nlp_ft.flag_help"])
def test_importing_it_imports_neither_torch_nor_transformers(module: str, run_process: RunCli) -> None:
    heavy = {"torch", "transformers", "datasets", "numpy", "sklearn", "pandas", "peft", "accelerate"}
    code, out, err = run_process(["-c", f"import sys, {module}; print(*({heavy} & set(sys.modules)))"])
    assert (code, out, err) == (0, "\n", "")


def test_the_public_names_are_few_there_and_listed() -> None:
    assert len(nlp_ft.__all__) <= 12
    assert sorted(nlp_ft.__all__) == dir(nlp_ft)
    assert all(getattr(nlp_ft, name).__name__ == name for name in nlp_ft.__all__)


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'nlp_ft' has no attribute 'train'$"):
        nlp_ft.train  # noqa: B018


def test_every_public_name_has_a_docstring() -> None:
    assert all(getattr(nlp_ft, name).__doc__ for name in nlp_ft.__all__)


@pytest.mark.parametrize("module", MODULES)
def test_a_file_stays_readable_in_one_sitting(module: str) -> None:
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= 300
