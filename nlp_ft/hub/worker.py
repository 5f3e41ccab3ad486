"""The process that talks to the Hub, separate so that it can be killed.

It reads requests from stdin and writes messages to stdout, one line of JSON each.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import warnings

from huggingface_hub import get_token

from nlp_ft.hub.error_messages import explain
from nlp_ft.hub.push_request import Message, PushRequest
from nlp_ft.hub.retries import install_client
from nlp_ft.hub.upload import Push, PushRefused


def main() -> None:
    """Serve one push per line of input.

    Writes `{"step": ...}` as each request starts, then `{"done": ...}` or `{"failed": ...}`.
    """
    warnings.simplefilter("ignore")  # about the card's metadata, which staging has checked
    for line in sys.stdin:
        request = PushRequest.from_json(line)
        if request.parent_pid is not None:
            threading.Thread(target=_exit_with_parent, args=(request.parent_pid,), daemon=True).start()
        _send(run(request))


def run(request: PushRequest) -> Message:
    """Run one push. Returns: the last message, with the access token removed from it."""
    install_client(request.read_timeout)
    push = Push(request, lambda step: _send({"step": step}))
    try:
        return {"done": push.run()}
    except PushRefused as error:
        return {"failed": _without_token(str(error)), "step": push.retries.step}
    except Exception as error:
        line = explain(error, push.retries.step, request, push.names)
        return {"failed": _without_token(line), "step": push.retries.step}


def _without_token(text: str) -> str:
    token = get_token()
    return text.replace(token, "hf_...") if token else text


def _send(message: Message) -> None:
    print(json.dumps(message), flush=True)


def _exit_with_parent(parent_pid: int) -> None:
    """Exit when the parent is gone: a parent that was killed cannot end this process."""
    while os.getppid() == parent_pid:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    main()
