"""The process that talks to the Hub, so that it can be killed: a line of JSON in, lines of JSON out."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import warnings
from typing import Any

from huggingface_hub import get_token

from nlp_ft.hub.error_messages import explain
from nlp_ft.hub.push_request import Job
from nlp_ft.hub.retries import use_own_client
from nlp_ft.hub.upload import Push, Refused


def main() -> None:
    """Do one push a line: `{"step": ...}` while it goes on, at the end `{"done": ...}` or `{"failed": ...}`."""
    warnings.simplefilter("ignore")  # of the card's metadata, which is checked before
    for line in sys.stdin:
        job = Job.from_json(line)
        if job.parent is not None:
            threading.Thread(target=_end_with, args=(job.parent,), daemon=True).start()
        _say(run(job))


def run(job: Job) -> dict[str, Any]:
    """One push, and how it ended; a token is in no word of it."""
    use_own_client(job.silence)
    push = Push(job, lambda step: _say({"step": step}))
    try:
        return {"done": push.run()}
    except Refused as error:
        return {"failed": _without_token(str(error)), "step": push.tries.step}
    except Exception as error:
        line = explain(error, push.tries.step, job, push.names)
        return {"failed": _without_token(line), "step": push.tries.step}


def _without_token(text: str) -> str:
    token = get_token()
    return text.replace(token, "hf_...") if token else text


def _say(held: dict[str, Any]) -> None:
    print(json.dumps(held), flush=True)


def _end_with(parent: int) -> None:
    """A parent that was killed cannot end this process; it looks for itself."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    main()
