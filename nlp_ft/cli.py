"""`nlp-ft`: one subcommand per method (found in nlp_ft/methods) and per verb; `--help` imports nothing heavy."""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from nlp_ft import methods, verbs
from nlp_ft.errors import ConfigError, NlpFtError, did_you_mean
from nlp_ft.flags import help_text, parse


def method_names() -> list[str]:
    """The methods, by the files there are."""
    return sorted(path.stem for path in Path(methods.__path__[0]).glob("[a-z]*.py"))


def launch(method: ModuleType, argv: Sequence[str] | None = None) -> int:
    """Parse, run, and turn an error into one line and its exit code. Recipes call this with their method.

    Returns: 0; 2 for a mistake in flags, files or checkpoints; 1 for a run that failed.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & set(argv):
        name, about = method.__name__.rpartition(".")[2], (method.__doc__ or "").partition("\n")[0]
        print(help_text(name, about, method.ARGUMENTS))
        return 0
    _die_with_the_launcher()
    return guarded(lambda: method.run(*parse(*method.ARGUMENTS, argv=argv)))


def guarded(action: object) -> int:
    """Run action(); an NlpFtError or Ctrl-C becomes one line on stderr. Returns: the exit code."""
    assert callable(action)
    try:
        action()
    except NlpFtError as error:
        if os.environ.get("RANK", "0") == "0" or error.exit_code == 1:
            print(f"nlp-ft: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    except KeyboardInterrupt:
        print("nlp-ft: interrupted; continue with --resume_from_checkpoint True", file=sys.stderr, flush=True)
        return 1
    except BrokenPipeError:  # `nlp-ft predict ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _die_with_the_launcher() -> None:
    """`accelerate launch` and torchrun, killed, would leave this process training on: ask Linux to end it with them."""
    if sys.platform == "linux" and ("LOCAL_RANK" in os.environ or "ACCELERATE_MIXED_PRECISION" in os.environ):
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def usage() -> str:
    """What `nlp-ft` alone prints."""
    lines = ["usage: nlp-ft COMMAND [flags]; nlp-ft COMMAND --help tells its flags", ""]
    for name in method_names():
        about = importlib.import_module(f"nlp_ft.methods.{name}").__doc__ or ""
        lines.append(f"  {name:<12}{about.partition(chr(10))[0]}")
    lines += [f"  {name:<12}{(verb.__doc__ or '').partition(chr(10))[0]}" for name, verb in verbs.VERBS.items()]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script. Returns: the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0
    command, rest = argv[0], argv[1:]
    if command == "--version":
        from importlib.metadata import version

        print(f"nlp-ft {version('nlp_ft')}")
        return 0
    if command in verbs.VERBS:
        return guarded(lambda: verbs.VERBS[command](rest))
    if command in method_names():
        return launch(importlib.import_module(f"nlp_ft.methods.{command}"), rest)

    def unknown() -> None:
        names = [*method_names(), *verbs.VERBS]
        raise ConfigError(f"unknown command '{command}'; there are {', '.join(names)}.{did_you_mean(command, names)}")

    return guarded(unknown)
