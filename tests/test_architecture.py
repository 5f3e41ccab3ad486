"""The shape of the package: rooms on floors, no circle of files, methods apart, and an import that costs nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT, RunCli

import nlp_ft

PACKAGE = ROOT / "nlp_ft"
FLOORS = {  # a room imports rooms of lower floors alone
    "errors": 1,
    "utils": 1,
    "config": 2,
    "evaluation": 2,
    "data": 3,
    "models": 3,
    "inference": 4,
    "training": 4,
    "hub": 5,
    "methods": 6,
    "search": 6,
    "serve": 6,
    "cli": 7,
}
TOP = {"__init__", "__main__"}  # the public names and `python -m nlp_ft`: they import what they like


def files() -> Iterator[tuple[str, Path]]:
    """Every module as `nlp_ft/data/load.py` -> ("data.load", path); a package by its own name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts), path


def imports(path: Path, *, run_time: bool = False) -> set[str]:
    """Every module a file imports, at the top or inside a function; with run_time, without those for the type checker."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if run_time:
        tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")]
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            assert PACKAGE not in path.parents, f"{path}: relative import"
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            imported |= {name if _is_module(name) else node.module for name in names}
    return imported


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return name.startswith("nlp_ft.") and (path.is_dir() or path.with_suffix(".py").is_file())


def imported_modules(path: Path, *, run_time: bool = False) -> set[str]:
    """The modules of nlp_ft a file imports, without `nlp_ft.`."""
    names = imports(path, run_time=run_time)
    return {
        name.removeprefix("nlp_ft.") if "." in name else "__init__" for name in names if name.split(".")[0] == "nlp_ft"
    }


MODULES = dict(files())


def room(module: str) -> str:
    return module.partition(".")[0]


def upwards(module: str, imported: set[str], floors: Mapping[str, int]) -> set[str]:
    """What a module imports that stands on its own floor or above, in another room."""
    return {
        name
        for name in imported
        if room(name) != room(module) and floors.get(room(name), 99) >= floors.get(room(module), 0)
    }


def test_every_module_stands_in_a_room_with_a_floor() -> None:
    assert {room(module) for module in MODULES} - FLOORS.keys() <= TOP
    assert max(FLOORS.values()) <= 7


def test_the_root_holds_rooms_and_four_files() -> None:
    names = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    alone = {name for name in names if (PACKAGE / name).is_file()}
    assert alone == {"__init__.py", "__main__.py", "errors.py", "utils.py", "py.typed", "README.md"}
    assert names - alone <= FLOORS.keys()


@pytest.mark.parametrize("module", [name for name in MODULES if name not in TOP])
def test_a_room_imports_lower_floors_alone(module: str) -> None:
    assert not upwards(module, imported_modules(MODULES[module]), FLOORS)


def test_an_import_of_the_same_floor_or_above_is_noticed() -> None:
    assert upwards("data.load", {"models.heads"}, FLOORS) == {"models.heads"}
    assert upwards("evaluation.metrics", {"data.rows", "errors"}, FLOORS) == {"data.rows"}
    assert upwards("training.fit", {"models.heads", "training.save", "data"}, FLOORS) == set()


def test_no_files_import_each_other_in_a_circle() -> None:
    """Imports for the type checker and inside functions count, too; a package may import its own files."""
    graph = {module: imported_modules(path) - {module} for module, path in MODULES.items()}
    TopologicalSorter(graph).prepare()
    with pytest.raises(CycleError):
        TopologicalSorter(graph | {"errors": {"cli.main"}}).prepare()


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("methods.")])
def test_a_method_imports_no_other_method(module: str) -> None:
    method = module.split(".")[1]
    others = {name.split(".")[1] for name in imported_modules(MODULES[module]) if name.startswith("methods.")}
    assert others <= {method}


def test_a_method_can_be_taken_out_with_its_folder() -> None:
    """Its folder, recipe, presets and test; `finetune` alone, which the tests of all use, stays."""
    paths = {
        path.relative_to(ROOT) for folder in ("nlp_ft", "recipes", "tests") for path in (ROOT / folder).rglob("*.py")
    }
    strangers = [
        f"{path}: {name}"
        for path in sorted(paths)
        for name in sorted(imports(ROOT / path))
        if name.startswith("nlp_ft.methods.") and (method := name.split(".")[2]) != "finetune"
        if path.as_posix() not in (f"recipes/{method}.py", f"tests/methods/test_{method}.py")
        if not path.as_posix().startswith(f"nlp_ft/methods/{method}/")
    ]
    assert not strangers


@pytest.mark.parametrize("method", sorted(path.parent.name for path in PACKAGE.glob("methods/*/__init__.py")))
def test_a_method_is_a_folder_with_the_same_entrance(method: str) -> None:
    folder = PACKAGE / "methods" / method
    assert (folder / "method.py").is_file()
    assert (ROOT / "recipes" / f"{method}.py").is_file()
    assert (ROOT / "tests/methods" / f"test_{method}.py").is_file()
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    names = {n.targets[0].id for n in tree.body if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name)}
    assert "ARGUMENTS" in names
    assert [n.name for n in tree.body if isinstance(n, ast.FunctionDef)] == ["run"]


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("data")])
def test_only_data_knows_the_readers_schema_and_splits(module: str) -> None:
    inside = ("data.readers", "data.schema", "data.splits")
    assert not {name for name in imported_modules(MODULES[module]) if name.startswith(inside)}


def test_nothing_in_the_package_imports_a_recipe_or_a_test() -> None:
    used = {name.partition(".")[0] for path in MODULES.values() for name in imports(path)}
    assert not used & {"recipes", "tests", "conftest"}


def test_peft_is_imported_where_adapters_are_made_loaded_and_saved_alone() -> None:
    users = {
        name for name, path in MODULES.items() if any(i.split(".")[0] == "peft" for i in imports(path, run_time=True))
    }
    assert users == {"models.lora", "models.adapters"}


@pytest.mark.parametrize("module", ["nlp_ft", "nlp_ft.cli.main", "nlp_ft.methods.finetune", "nlp_ft.config.help"])
def test_importing_it_imports_neither_torch_nor_transformers(module: str, run_cold: RunCli) -> None:
    heavy = {"torch", "transformers", "datasets", "numpy", "sklearn", "pandas", "peft", "accelerate"}
    code, out, err = run_cold(["-c", f"import sys, {module}; print(*({heavy} & set(sys.modules)))"])
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
