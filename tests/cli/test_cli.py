"""The command line: help, exit codes, one line for a mistake, and a child that ends with its launcher."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import ranks
from conftest import ROOT, RunCli

from nlp_ft.cli import main
from nlp_ft.config.flags import REFUSED, training_flags
from nlp_ft.errors import ConfigError, TrainingError

ONE_ON_THE_CPU = ROOT / "recipes/accelerate/cpu_1.yaml"
LAUNCH = ["-m", "accelerate.commands.launch", "--config_file", str(ONE_ON_THE_CPU)]
HEAVY = "{'torch', 'transformers', 'datasets', 'sklearn', 'pandas', 'numpy', 'peft', 'evaluate', 'jinja2'}"

VERBS = ["predict", "evaluate", "explain", "export", "push", "data"]


# ---- help


def test_help_imports_nothing_heavy_and_little_else(run_cold: RunCli) -> None:
    code, out, err = run_cold(
        [
            "-c",
            "import sys; from nlp_ft.cli.main import main; main(['finetune', '--help']); "
            f"print({HEAVY} & set(sys.modules), len(sys.modules))",
        ]
    )
    assert (code, err) == (0, "")
    heavy, count = out.splitlines()[-1].split()
    assert heavy == "set()"
    assert int(count) < 300  # some 150, a fifth of a second; torch alone is a thousand


def test_help_is_grouped_by_what_a_flag_is_about(run_cli: RunCli) -> None:
    code, out, _ = run_cli(["finetune", "--help"])
    titles = [line for line in out.splitlines() if line.endswith(":") and line[0].isalpha()]
    assert code == 0
    assert titles == [
        "options:",
        "Model:",
        "Data:",
        "Long texts:",
        "Augment:",
        "LoRA:",
        "Layers:",
        "Fit:",
        "Hub:",
        "Training:",
    ]
    assert max(map(len, out.splitlines())) <= 118


def test_help_shows_choices_and_defaults_and_hides_what_is_refused(run_cli: RunCli) -> None:
    out = " ".join(run_cli(["finetune", "-h"])[1].split())
    assert "--pooling {auto,stock,mean,cls,last,max} What the head reads" in out
    assert "--model_name_or_path STR Checkpoint to start from" in out
    assert "distilbert-base- uncased. (required)" in out
    assert "--lora_r INT Rank. (default 16)" in out
    assert "--lora_target_modules STR ... Layers that get adapters, or all-linear. (default all-linear)" in out
    assert "--use_peft Train LoRA adapters" in out
    assert "(default chosen for model and data)" in out
    assert "(default 0.01)" in out  # nlp_ft's, not transformers'
    assert "~20% slower" in out
    for noise in ("(None)", "(False)", "default None", "default False", "Literal[", "%%"):
        assert noise not in out
    for flag in training_flags():
        assert (f"--{flag.name} " in out) == (
            flag.name not in {*REFUSED, "do_train", "do_eval", "do_predict", "local_rank"}
        )


def test_a_recipe_answers_help_by_itself(run_cold: RunCli) -> None:
    code, out, err = run_cold(["recipes/finetune.py", "--help"])
    assert (code, err) == (0, "")
    assert out.startswith("usage: nlp-ft finetune [--config FILE.yaml ...] [flags]\n")


def test_help_piped_into_head_ends_quietly() -> None:
    command = f"{sys.executable} -m nlp_ft finetune --help | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.splitlines()[0].startswith("usage:")


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_nlp_ft_alone_lists_its_commands(run_cli: RunCli, argv: list[str]) -> None:
    code, out, _ = run_cli(argv)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[2:]] == [*main.method_names(), *VERBS]


def test_the_version_is_the_package_s(run_cli: RunCli) -> None:
    assert run_cli(["--version"]) == (0, "nlp-ft 0.1.0\n", "")


def test_an_unknown_command_names_the_nearest_one(run_cli: RunCli) -> None:
    names = ", ".join([*main.method_names(), *VERBS])
    assert "finetune" in names
    said = f"nlp-ft: unknown command 'finetun'; the commands are {names}. Did you mean 'finetune'?\n"
    assert run_cli(["finetun"]) == (2, "", said)


# ---- errors


def ending(action: Callable[[], object], capsys: pytest.CaptureFixture[str], **environment: str) -> tuple[int, str]:
    """(exit code, stderr) of an action run by `guarded`."""
    code = main.guarded(action)
    return code, capsys.readouterr().err


def raising(error: BaseException) -> Callable[[], object]:
    def action() -> None:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("no."), 2, "nlp-ft: no.\n"),
        (TrainingError("the loss is nan."), 1, "nlp-ft: the loss is nan.\n"),
        (OSError(28, "No space left on device"), 1, "nlp-ft: no space left on device\n"),
        (PermissionError(13, "Permission denied", "/out"), 1, "nlp-ft: /out: permission denied\n"),
        (OSError("cannot\nread"), 1, "nlp-ft: cannot read\n"),
        (ImportError("You need to install `x`"), 2, "nlp-ft: You need to install `x`\n"),
        (
            RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
            1,
            "nlp-ft: writing failed: Error while serializing: I/O error: No space left on device (os error 28)\n",
        ),
        (KeyboardInterrupt(), 1, "nlp-ft: interrupted\n"),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending(raising(error), capsys) == (code, line)


@pytest.mark.parametrize("error", [KeyError("x"), AssertionError(), ModuleNotFoundError("No module", name="nlp_ft.x")])
def test_a_defect_of_ours_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)):
        main.guarded(raising(error))


def test_only_the_first_process_of_a_machine_tells_of_a_mistake_but_every_one_of_a_failed_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert ending(raising(ConfigError("no.")), capsys) == (2, "")
    assert ending(raising(TrainingError("nan.")), capsys) == (1, "nlp-ft: nan.\n")
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert ending(raising(ConfigError("no.")), capsys) == (2, "nlp-ft: no.\n")


# ---- the child of a launcher

WAITS = """
import os, sys, time, types
from nlp_ft.cli import main as cli

def run(*arguments):
    open(sys.argv[1], "w").write(str(os.getpid()))
    time.sleep(600)

cli.parse = lambda *classes, **_: ()
cli.launch(types.SimpleNamespace(ARGUMENTS=(), run=run, __name__="waits", __doc__=""), [])
"""


def wait_for(happens: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if happens():
            return True
        time.sleep(0.05)
    return False


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie, which nobody has waited for yet, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


KILLED = [("accelerate", signal.SIGKILL), ("accelerate", signal.SIGTERM), ("accelerate", signal.SIGINT)]
KILLED += [("torchrun", signal.SIGKILL)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_killed_launcher_takes_its_child_along(tmp_path: Path) -> None:
    script = tmp_path / "waits.py"
    script.write_text(WAITS)
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", "1", "--master_port", "0"]
    places = [tmp_path / f"{launcher}_{number.name}" for launcher, number in KILLED]
    launchers = [
        subprocess.Popen(
            [sys.executable, *(LAUNCH if launcher == "accelerate" else torchrun), str(script), str(place)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
        )
        for (launcher, _), place in zip(KILLED, places, strict=True)
    ]
    children: list[int] = []
    try:
        for place in places:
            assert wait_for(lambda place=place: place.exists() and place.read_text() != "", 180), place.name
            children.append(int(place.read_text()))
        assert not {launcher.pid for launcher in launchers} & {*children}
        assert all(map(is_alive, children))
        for launcher, child, (name, number) in zip(launchers, children, KILLED, strict=True):
            launcher.send_signal(number)
            assert wait_for(lambda child=child: not is_alive(child), 60), (name, number)
    finally:
        for launcher in launchers:
            launcher.kill()
            launcher.wait()
        for child in filter(is_alive, children):
            os.kill(child, signal.SIGKILL)


ORPHAN = """
import os, sys, time
from nlp_ft.cli import main as cli
parents = iter([7, 1])
cli.os.getppid = lambda: next(parents)
cli._exit_with_launcher()
print("still there")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_launcher_that_died_before_the_request_is_noticed() -> None:
    environment = {**os.environ, "LOCAL_RANK": "0"}
    done = subprocess.run([sys.executable, "-c", ORPHAN], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "")


@pytest.mark.parametrize(
    ("first", "dies"), [("systemd", True), ("tini", True), ("accelerate", False), ("python", False)]
)
def test_a_parent_that_is_the_first_process_may_be_the_launcher_of_a_container(
    monkeypatch: pytest.MonkeyPatch, first: str, dies: bool
) -> None:
    signals: list[int] = []
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setattr(main.ctypes, "CDLL", lambda _: type("Libc", (), {"prctl": lambda *a: 0})())
    monkeypatch.setattr(main.os, "getppid", lambda: 1)
    monkeypatch.setattr(main.os, "kill", lambda _, number: signals.append(number))
    monkeypatch.setattr(main, "_init_process_name", lambda: first)
    main._exit_with_launcher()
    assert signals == ([signal.SIGTERM] if dies else [])


def test_without_a_launcher_nothing_is_asked_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    monkeypatch.setattr(main.ctypes, "CDLL", lambda _: pytest.fail("asked"))
    main._exit_with_launcher()


# ---- every way in takes the same flags

WAYS = {
    "nlp-ft": [str(Path(sys.executable).with_name("nlp-ft")), "finetune"],
    "python -m nlp_ft": [sys.executable, "-m", "nlp_ft", "finetune"],
    "python recipes/finetune.py": [sys.executable, "recipes/finetune.py"],
    "accelerate launch recipes/finetune.py": [sys.executable, *LAUNCH, "recipes/finetune.py"],
    "accelerate launch -m nlp_ft": [sys.executable, *LAUNCH, "-m", "nlp_ft", "finetune"],
}
TRAINED = ("nlp-ft", "accelerate launch recipes/finetune.py")


def started(way: str, config: Path, *flags: object) -> subprocess.CompletedProcess[str]:
    command = [*WAYS[way], "--config", str(config), *map(str, flags)]
    if way.startswith("accelerate"):  # the launcher is forked with its imports made; what it launches starts cold
        return ranks.run_alone(command[1:])
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
@pytest.mark.parametrize("way", TRAINED)
def test_every_way_in_takes_the_same_flags(
    way: str, tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path
) -> None:
    config = tmp_path / "a.yaml"
    lines = {f"{split}_file": path for split, path in tiny_csv.items()} | {"num_train_epochs": 2, "use_cpu": "true"}
    config.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    flags = ["--model_name_or_path", tiny_bert, "--output_dir", tmp_path / "out", "--num-train-epochs=1"]
    done = started(way, config, *flags)
    assert done.returncode == 0, done.stderr
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["arguments"]["training"]["num_train_epochs"] == 1
    assert "Try it: nlp-ft predict" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("way", [way for way in WAYS if way not in TRAINED])
def test_every_other_way_in_reads_them_too(way: str, tmp_path: Path) -> None:
    config = tmp_path / "a.yaml"
    config.write_text("use_cpu: true\nlearning_rat: 1e-3\n")
    done = started(way, config, "--num-train-epochs=1", "--output_dir", tmp_path / "out")
    # an accelerate launch tells of its child's failure by 1
    assert done.returncode == (1 if way.startswith("accelerate") else 2)
    said = [line for line in done.stderr.splitlines() if line.startswith("nlp-ft: ")]
    assert said == [f"nlp-ft: {config}: unknown key 'learning_rat'. Did you mean 'learning_rate'?"]


@pytest.mark.slow
def test_accelerate_launch_passes_help_to_the_recipe(run_process: RunCli) -> None:
    code, out, _ = run_process([*LAUNCH, "recipes/finetune.py", "--help"])
    assert code == 0
    assert out.startswith("usage: nlp-ft finetune")
