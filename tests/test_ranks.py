"""Processes of a run that the server starts: each its own, heard in full, and gone when they should be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ranks
from conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

SAYS = """
import json, os, sys, threading
named = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "OWN")
print(json.dumps([sys.argv[1:], [os.environ.get(name) for name in named], os.getcwd(), os.getpid()]))
print(len(os.listdir(f"/proc/{os.getppid()}/task")), "threads", file=sys.stderr)
import torch.distributed
torch.distributed.init_process_group("gloo")
one = torch.ones(1)
torch.distributed.all_reduce(one)
assert one.item() == 2
torch.distributed.destroy_process_group()
"""

FAILS = """
import os, sys, time
print(os.getpid(), flush=True)
if os.environ["RANK"] == "1":
    sys.exit(3) if sys.argv[1] == "exit" else os.kill(os.getpid(), 9)
time.sleep(600)
"""

STARTS = """
import os, subprocess, sys, time
children = subprocess.Popen(["sleep", "60"])
open(f"{sys.argv[1]}/{os.environ['RANK']}", "w").write(f"{os.getpid()} {children.pid}")
time.sleep(60)
"""

TESTS = """
import sys
sys.path.insert(0, sys.argv[1])
import ranks
ranks.COMMAND = [sys.executable, "-c", "import sys, ranks; ranks.HEAVY.clear(); ranks.serve()"]
ranks.run(sys.argv[2:])
"""


def gone(pid: int, seconds: float = 5) -> bool:
    """Whether the process ends in time; a zombie of another's has."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_processes_know_of_each_other_and_all_they_say_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "says.py"
    script.write_text(SAYS)
    monkeypatch.setenv("OWN", "set by the test")
    done = ranks.run([script, "a", 1])
    assert done.returncode == 0, done.stderr
    said = sorted((json.loads(line) for line in done.stdout.splitlines()), key=lambda line: line[1])
    assert [line[0] for line in said] == [["a", "1"]] * 2
    assert [line[1] for line in said] == [[n, n, "2", "2", "127.0.0.1", "set by the test"] for n in ("0", "1")]
    assert {line[2] for line in said} == {str(ROOT)}
    assert [line for line in done.stderr.splitlines() if "threads" in line] == ["1 threads"] * 2  # a fork copies one


@pytest.mark.parametrize(("way", "code"), [("exit", 3), ("kill", -signal.SIGKILL)])
def test_when_one_fails_the_others_are_ended(tmp_path: Path, way: str, code: int) -> None:
    script = tmp_path / "fails.py"
    script.write_text(FAILS)
    done = ranks.run([script, way])  # were the others waited for, time would be up before
    assert done.returncode == code
    assert all(gone(int(pid), 0.1) for pid in done.stdout.split())


def test_an_error_is_told_with_its_traceback(tmp_path: Path) -> None:
    script = tmp_path / "raises.py"
    script.write_text("raise KeyError('x')")
    done = ranks.run([script], processes=1)
    assert done.returncode == 1
    assert "KeyError: 'x'" in done.stderr


ALONE = """
import json, os, sys
print(json.dumps([__name__, sys.argv, sys.stdin.read(), os.getcwd(), dict(os.environ)]))
sys.exit(4)
"""


@pytest.mark.parametrize("way", ["script", "program"])
def test_one_by_itself_has_what_it_is_given_and_no_more(tmp_path: Path, way: str) -> None:
    script = tmp_path / "alone.py"
    script.write_text(ALONE)
    first = [str(script)] if way == "script" else ["-c", ALONE]
    done = ranks.run_alone([*first, "a", 1], env={"OWN": "x"}, cwd=tmp_path, given="read")
    assert (done.returncode, done.stderr) == (4, "")
    name, argv, read, directory, environment = json.loads(done.stdout)
    assert (name, argv, read, directory) == ("__main__", [first[0], "a", "1"], "read", str(tmp_path))
    assert environment.pop("OWN") == "x"
    assert environment == {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


def test_what_imports_read_is_there_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import sys, ranks; ranks.HEAVY[:] = ['huggingface_hub.constants']; ranks.serve()"
    monkeypatch.setattr(ranks, "COMMAND", [sys.executable, "-c", program])
    importing = {"HF_ENDPOINT": "http://127.0.0.1:9", "PYTHONPATH": str(ROOT / "tests")}
    code = "import sys; print(sys.modules['huggingface_hub.constants'].ENDPOINT)"
    try:
        done = ranks.run_alone(["-c", code], importing=importing)
    finally:
        ranks.stop(importing)
    assert (done.returncode, done.stdout) == (0, "http://127.0.0.1:9\n"), done.stderr


def test_what_takes_too_long_is_ended_with_what_it_has_started(tmp_path: Path) -> None:
    script = tmp_path / "starts.py"
    script.write_text(STARTS)
    with pytest.raises(subprocess.TimeoutExpired):
        ranks.run([script, tmp_path], timeout=3)
    found = [int(pid) for n in (0, 1) for pid in (tmp_path / str(n)).read_text().split()]
    assert len(found) == 4
    assert all(gone(pid) for pid in found)
    assert ranks.run(["-m", "nlp_ft", "--version"]).stdout.startswith("nlp-ft ")  # and the server goes on


def test_tests_that_are_killed_leave_nothing_running(tmp_path: Path) -> None:
    (tmp_path / "starts.py").write_text(STARTS)
    (tmp_path / "tests.py").write_text(TESTS)
    tests = subprocess.Popen(
        [sys.executable, tmp_path / "tests.py", ROOT / "tests", tmp_path / "starts.py", tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
    )
    try:
        end = time.monotonic() + 120
        while not all((tmp_path / n).exists() and (tmp_path / n).read_text().count(" ") for n in "01"):
            assert time.monotonic() < end
            assert tests.poll() is None
            time.sleep(0.05)
        found = [int(pid) for n in "01" for pid in (tmp_path / n).read_text().split()]
        server = int(Path(f"/proc/{found[0]}/stat").read_text().rpartition(")")[2].split()[1])
    finally:
        tests.kill()
        tests.wait()
    assert server not in (1, tests.pid)
    assert all(gone(pid) for pid in (*found, server))
