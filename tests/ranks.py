"""Processes without their imports: several of one run, as `python -m torch.distributed.run` starts them, or one by itself.

`run` and `run_alone` keep one server for the session, started when it is first asked for. The server imports what training
needs, computes nothing, and forks the processes of each run, so that a run costs what it does itself. What this cannot tell is
how a launcher behaves, what a cold start imports, and what differs between interpreters that started by themselves (the order
of a set of words, say, which here all processes of a run share, though not with the tests): test_distributed.py, test_cli.py,
test_architecture.py and test_scripts.py start real ones.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import random
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
# as it is before any test changes it: imports read some of it
_ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
_servers: dict[tuple[tuple[str, str], ...], subprocess.Popen[str]] = {}  # by the variables that their imports read

HEAVY = [
    *("datasets", "nlp_ft.cli.main", "nlp_ft.training.job", "nlp_ft.training.fit", "peft"),
    *("sklearn.feature_extraction.text", "sklearn.linear_model", "torch.distributed.algorithms.join"),
    *("transformers.hf_argparser", "transformers.models.bert.modeling_bert", "transformers.trainer"),
    "transformers.models.bert.tokenization_bert",
    *(
        f"nlp_ft.methods.{path.parent.name}.{path.stem}"
        for path in sorted((ROOT / "nlp_ft/methods").glob("*/*.py"))
        if path.stem[:2] != "__"
    ),
]
COMMAND = [sys.executable, __file__]


# ---- in the tests


def run(
    argv: Sequence[object], *, processes: int = 2, timeout: float = 240, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`python argv` (a script and its arguments, or -m and a module) in so many processes that know of each other.

    env: variables set besides those that are set now. When a process fails, the others are killed.

    Returns: the exit code of the first that failed, or 0, and what all have written. Raises: subprocess.TimeoutExpired.
    """
    return _done(argv, {"processes": processes, "timeout": timeout, "env": {**os.environ, **(env or {})}}, {})


def run_alone(
    argv: Sequence[object],
    *,
    timeout: float = 600,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    given: str = "",
    importing: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """`python argv` (a script, -m and a module or -c and a program, and arguments) as one process that knows of no others.

    env: all its variables, those of the tests if None. given: what it reads from stdin. importing: variables that imports read
    (the address of a Hub, say); a server of its own has them, and so have its processes unless `env` says otherwise.

    Returns: its exit code and what it has written. Raises: subprocess.TimeoutExpired.
    """
    importing = dict(importing or {})
    env = dict(os.environ if env is None else env)
    job = {"processes": 1, "timeout": timeout, "env": importing | env if importing else env, "cwd": str(cwd)}
    return _done(argv, {**job, "alone": True, "given": given}, importing)


def _done(argv: Sequence[object], job: dict[str, Any], importing: dict[str, str]) -> subprocess.CompletedProcess[str]:
    tokens = [str(token) for token in argv]
    answer = _ask({"cwd": str(ROOT), "alone": False, "given": "", **job, "argv": tokens}, importing)
    if answer["code"] is None:
        raise subprocess.TimeoutExpired(tokens, job["timeout"], answer["out"], answer["err"])
    return subprocess.CompletedProcess(tokens, answer["code"], answer["out"], answer["err"])


def _ask(job: dict[str, Any], importing: dict[str, str]) -> dict[str, Any]:
    server = _started(importing)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        line = server.stdout.readline()
    except BaseException:  # Ctrl-C as well: what was begun is not to go on
        stop()
        raise
    if not line:
        code = server.wait()
        stop()
        raise RuntimeError(f"the server of ranks ended with code {code}; its words are on stderr.")
    return json.loads(line)


def _started(importing: dict[str, str]) -> subprocess.Popen[str]:
    """The server; in a session of its own, so that Ctrl-C reaches the tests alone."""
    key = tuple(sorted(importing.items()))
    if key not in _servers:
        _servers[key] = subprocess.Popen(
            COMMAND,
            cwd=ROOT,
            env=_ENVIRONMENT | importing,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    return _servers[key]


def stop(importing: Mapping[str, str] | None = None) -> None:
    """End the servers, or the one with these variables, and what they have started.

    They end by themselves, too, when the tests are killed.
    """
    for key in [*_servers] if importing is None else [tuple(sorted(importing.items()))]:
        server = _servers.pop(key, None)
        if server is None:
            continue
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.close()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        server.stdout.close()


# ---- in the server


class Ended(NamedTuple):
    """How a run ended: the first exit code that is not 0, or None where time was up; `gone`: nobody waits for it any more."""

    code: int | None
    gone: bool


def serve() -> None:
    """Answer one line of JSON with one, until there are no more."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an import prints is no reply
    requests = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115
    sys.path[0] = str(ROOT)
    for name in HEAVY:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # pages that nobody writes to are shared
    while line := requests.readline():
        job = json.loads(line)
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(job["given"].encode())
            given.seek(0)
            meeting, port = ([], "") if job["alone"] else started_store()
            ranks = [
                forked(lambda rank=rank, job=job, port=port, files=(given, out, err): be_rank(job, rank, port, files))
                for rank in range(job["processes"])
            ]
            ended = wait_for(ranks, job["timeout"])
            kill([*ranks, *meeting])
            written = {name: read_all(file) for name, file in (("out", out), ("err", err))}
        if ended.gone:
            break
        replies.write(json.dumps({"code": ended.code, **written}) + "\n")
        replies.flush()


def forked(action: Callable[[], object]) -> int:
    """A process that does this and ends as Python does, but leaves its memory to the system: a second less a run."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        action()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def started_store() -> tuple[list[int], str]:
    """The process where those of a run meet, and its port."""
    reader, writer = os.pipe()
    store = forked(lambda: keep_store(writer))
    os.close(writer)
    port = os.read(reader, 16).decode()
    os.close(reader)
    return [store], port


def keep_store(writer: int) -> None:
    """Where the processes of a run meet, at a port that nobody else has; the launcher does so, too."""
    die_with_the_parent()
    from torch import distributed

    store = distributed.TCPStore(  # type: ignore[attr-defined]
        "127.0.0.1", 0, is_master=True, wait_for_workers=False
    )
    os.write(writer, str(store.port).encode())
    while True:
        signal.pause()


def be_rank(job: dict[str, Any], rank: int, port: str, files: Sequence[IO[bytes]]) -> None:
    """Become a process of the run: its environment, its directory, its files, and then its program."""
    os.setsid()  # it and what it starts are killed together
    die_with_the_parent()
    for number, file in enumerate(files):
        os.dup2(file.fileno(), number)
    os.environ.clear()
    os.environ.update(job["env"])
    if not job["alone"]:
        os.environ.update(as_rank(rank, job["processes"], port))
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.chdir(job["cwd"])
    import numpy as np

    np.random.seed()  # not the state that all would share
    random.seed()
    become(*job["argv"])


def as_rank(rank: int, count: int, port: str) -> dict[str, str]:
    """The variables by which a launcher tells a process who it is."""
    size = str(count)
    numbers = {f"{name}RANK": str(rank) for name in ("", "LOCAL_", "ROLE_")} | {"GROUP_RANK": "0"}
    sizes = {f"{name}WORLD_SIZE": size for name in ("", "LOCAL_", "ROLE_")} | {"GROUP_WORLD_SIZE": "1"}
    elastic = {"RUN_ID": "none", "USE_AGENT_STORE": "True", "RESTART_COUNT": "0", "MAX_RESTARTS": "0"}
    return (
        numbers
        | sizes
        | {f"TORCHELASTIC_{name}": value for name, value in elastic.items()}
        | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    )


def become(first: str, *rest: str) -> None:
    """Run the program that `python first rest` would."""
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if first == "-m":
        sys.path[0] = os.getcwd()
        sys.argv = [*rest]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.path[0] = ""
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    else:
        sys.path[0] = str(Path(first).parent)
        sys.argv = [first, *rest]
        runpy.run_path(first, run_name="__main__")


def die_with_the_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def wait_for(ranks: Sequence[int], seconds: float) -> Ended:
    """Until all have ended well, or one has not, or time is up, or the tests have gone. Those that ended are still zombies."""
    end, running = time.monotonic() + seconds, set(ranks)
    while running:
        if select.select([0], [], [], 0.01)[0]:
            return Ended(None, True)
        for pid in sorted(running):
            found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                continue
            if found.si_status:
                return Ended(found.si_status if found.si_code == os.CLD_EXITED else -found.si_status, False)
            running.remove(pid)
        if time.monotonic() > end:
            return Ended(None, False)
    return Ended(0, False)


def kill(processes: Sequence[int]) -> None:
    """Each of them with what it has started, and its zombie; so far each number is still its own."""
    for pid in processes:
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):  # it leads no group
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def read_all(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


if __name__ == "__main__":
    serve()
