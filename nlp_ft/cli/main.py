"""The command `nlp-ft`: one subcommand per method in nlp_ft/methods and per verb.

`--help` imports no torch.
"""

from __future__ import annotations

import ctypes
import importlib
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from nlp_ft import methods
from nlp_ft.cli.evaluate import evaluate
from nlp_ft.cli.predict import predict
from nlp_ft.config.help import help_text
from nlp_ft.config.parser import parse
from nlp_ft.errors import ConfigError, NlpFtError, did_you_mean


def main(argv: Sequence[str] | None = None) -> int:
    """Run the console script. Returns: the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    _print_anywhere()
    command, rest = (argv[0], argv[1:]) if argv else ("--help", [])
    if command in ("-h", "--help", "--version"):
        return guarded(lambda: print(usage() if command != "--version" else _version()))
    if command in VERBS:
        return guarded(lambda: VERBS[command](rest))
    if command in method_names():
        return launch(importlib.import_module(f"nlp_ft.methods.{command}"), rest)
    return guarded(lambda: _unknown(command))


def _print_anywhere() -> None:
    """Escape characters that the console's encoding lacks, in place of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def launch(method: ModuleType, argv: Sequence[str] | None = None) -> int:
    """Parse the flags and run a method; the entry point of a recipe.

    An error becomes one line on stderr. Returns: 0; 2 for an error in flags, files or checkpoints; 1 for a failed run.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & set(argv):
        name, about = method.__name__.rpartition(".")[2], _first_line(method.__doc__)
        return guarded(lambda: print(help_text(name, about, method.ARGUMENTS) if _is_local_rank_0() else "", end=""))
    _exit_with_launcher()
    return guarded(
        lambda: method.run(*parse(*method.ARGUMENTS, argv=argv, with_files=True)),
        "; if it has saved a checkpoint, the same command with --resume_from_checkpoint true resumes from it",
    )


def guarded(action: Callable[[], object], after_interrupt: str = "") -> int:
    """Run action(); a user error, a full disk or Ctrl-C becomes one line on stderr.

    All processes fail with the same user error, so only local rank 0 prints it; a process whose run fails prints its own
    error. Any other exception is a defect and keeps its traceback.

    Returns: the exit code.
    """
    try:
        code = action()
        sys.stdout.flush()
    except BrokenPipeError:  # `nlp-ft predict ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except NlpFtError as error:
        return _fail(str(error), error.exit_code)
    except ImportError as error:
        if error.name is not None:
            raise
        return _fail(_one_line(error), 2)  # transformers: a flag needs a package that is not installed
    except OSError as error:
        path = f"{error.filename}: " if error.filename else ""
        return _fail(f"{path}{(error.strerror or _one_line(error)).lower()}", 1)
    except KeyboardInterrupt:
        return _fail(f"interrupted{after_interrupt}", 1)
    except Exception as error:
        if not re.search("I/O error|PytorchStreamWriter failed", str(error)):
            raise
        return _fail(f"writing failed: {str(error).partition(chr(10))[0]}", 1)  # a full disk
    return code if type(code) is int else 0


def _fail(message: str, code: int) -> int:
    if code != 2 or _is_local_rank_0():
        print(f"nlp-ft: {message}", file=sys.stderr, flush=True)
    return code


def _is_local_rank_0() -> bool:
    """Return whether this is the only process of its machine, or its local rank 0."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _exit_with_launcher() -> None:
    """Ask Linux to terminate this process with its launcher.

    The launcher is `accelerate launch` or torchrun.

    Without it this process trains on after the launcher is killed. A launcher that ended before the request is detected by
    a changed parent, or a parent that is the init process.
    """
    if sys.platform != "linux" or not {"LOCAL_RANK", "ACCELERATE_MIXED_PRECISION"} & set(os.environ):
        return
    pr_set_pdeathsig = 1
    parent = os.getppid()
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    if os.getppid() != parent or (parent == 1 and _init_process_name() in ("init", "systemd", "tini", "docker-init")):
        os.kill(os.getpid(), signal.SIGTERM)


def _init_process_name() -> str:
    return Path("/proc/1/comm").read_text(encoding="utf-8").strip()


def method_names() -> list[str]:
    """Return the names of the methods: the folders of nlp_ft/methods."""
    return sorted(path.parent.name for path in Path(methods.__path__[0]).glob("[a-z]*/__init__.py"))


def usage() -> str:
    """Return the text of `nlp-ft --help`."""
    about = {name: importlib.import_module(f"nlp_ft.methods.{name}").__doc__ for name in method_names()}
    about |= {name: verb.__doc__ for name, verb in VERBS.items()}
    lines = ["usage: nlp-ft COMMAND [flags]; nlp-ft COMMAND --help lists its flags", ""]
    return "\n".join([*lines, *(f"  {name:<12}{_first_line(text)}" for name, text in about.items())])


def _first_line(text: str | None) -> str:
    return (text or "").partition("\n")[0]


def _version() -> str:
    from importlib.metadata import version

    return f"nlp-ft {version('nlp_ft')}"


def _unknown(command: str) -> None:
    names = [*method_names(), *VERBS]
    raise ConfigError(
        f"unknown command '{command}'; the commands are {', '.join(names)}.{did_you_mean(command, names)}"
    )


def data(argv: Sequence[str]) -> int:
    """Check labelled texts: nlp-ft data check train.csv."""
    from nlp_ft.cli.data_check import main

    return main(argv)


def export(argv: Sequence[str]) -> int | None:
    """Write a fine-tuned model as ONNX or OpenVINO, with a table of parity and speed."""
    from nlp_ft.cli.export import export as run

    return run(argv)


def push(argv: Sequence[str]) -> int | None:
    """Push a fine-tuned directory to the Hub, checked and in one commit."""
    from nlp_ft.cli.push import push as run

    return run(argv)


def explain(argv: Sequence[str]) -> int | None:
    """Show which words support a prediction, and which oppose it."""
    from nlp_ft.cli.explain import explain_command

    return explain_command(argv)


VERBS: dict[str, Callable[[Sequence[str]], int | None]] = {
    "predict": predict,
    "evaluate": evaluate,
    "explain": explain,
    "export": export,
    "push": push,
    "data": data,
}
