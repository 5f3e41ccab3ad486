"""The pushing process from outside: started, listened to, and killed when its time is over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from nlp_ft.errors import PushError
from nlp_ft.hub.push_request import Job

_GRACE = 0.5  # seconds after its deadline in which the process may still say how it ended


def send(job: Job, timeout: float) -> dict[str, Any]:
    """Run one push to its end, or to its deadline. Returns: what `client.Push.run` does.

    timeout: seconds in all. Raises: PushError, in one line without a full stop.
    """
    job = replace(job, ends=time.time() + timeout, parent=os.getpid())
    shown = sys.stderr.isatty()
    process = subprocess.Popen(
        [sys.executable, "-m", "nlp_ft.hub.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if shown else subprocess.PIPE,
        text=True,
        env=_environment(shown),
    )
    try:
        out, err = process.communicate(job.to_json() + "\n", timeout=timeout + _GRACE)
        late = False
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        late = True
    finally:
        process.kill()
    said = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    found: dict[str, Any] = said[-1] if said else {}
    if "done" in found:
        return found["done"]
    if "failed" in found:
        raise PushError(found["failed"])
    step = f" ({found['step']})" if "step" in found else ""
    if late:
        raise PushError(f"the Hub was not done within {timeout:g} s{step}; --hub_timeout gives it more")
    last = ((err or "").strip().splitlines() or ["no words"])[-1]
    raise PushError(f"the pushing process ended by itself, code {process.returncode}{step}: {last[:300]}")


def _environment(shown: bool) -> dict[str, str]:
    """The user's own, token and all; quiet, and finding this very package."""
    package = str(Path(__file__).resolve().parents[2])
    env = {**os.environ, "HF_HUB_VERBOSITY": "critical", "PYTHONUNBUFFERED": "1"}
    env["PYTHONPATH"] = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    return env if shown else {**env, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
