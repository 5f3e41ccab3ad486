"""Start the pushing process, read its messages, and kill it at the deadline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from nlp_ft.errors import PushError
from nlp_ft.hub.push_request import Message, PushRequest, PushResult

_GRACE = 0.5  # seconds after the deadline in which the process may still report its result


def send(request: PushRequest, timeout: float) -> PushResult:
    """Run one push until it ends or the deadline passes.

    Returns: as `upload.Push.run`.

    timeout: seconds in total. Raises: PushError, one line without a full stop.
    """
    request = replace(request, deadline=time.time() + timeout, parent_pid=os.getpid())
    show_bars = sys.stderr.isatty()
    process = subprocess.Popen(
        [sys.executable, "-m", "nlp_ft.hub.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if show_bars else subprocess.PIPE,
        text=True,
        env=_environment(show_bars),
    )
    try:
        out, err = process.communicate(request.to_json() + "\n", timeout=timeout + _GRACE)
        timed_out = False
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        timed_out = True
    finally:
        process.kill()
    messages = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    last: Message = messages[-1] if messages else {}
    if "done" in last:
        return last["done"]
    if "failed" in last:
        raise PushError(last["failed"])
    step = f" ({last['step']})" if "step" in last else ""
    if timed_out:
        raise PushError(f"the Hub was not done within {timeout:g} s{step}; --hub_timeout sets another limit")
    reason = ((err or "").strip().splitlines() or ["no message"])[-1]
    raise PushError(f"the pushing process ended with exit code {process.returncode}{step}: {reason[:300]}")


def _environment(show_bars: bool) -> dict[str, str]:
    """Return the environment of the push, the user's token included.

    Library logs are off, and this package is on PYTHONPATH.
    """
    package = str(Path(__file__).resolve().parents[2])
    env = {**os.environ, "HF_HUB_VERBOSITY": "critical", "PYTHONUNBUFFERED": "1"}
    env["PYTHONPATH"] = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    return env if show_bars else {**env, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
