"""Whatever the Hub does wrong, at whichever call: one commit with every file at the end, or none and one clear line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fake_hub import TestHub

from nlp_ft.errors import PushError
from nlp_ft.hub.push_request import PushRequest
from nlp_ft.hub.run_worker import send

pytestmark = pytest.mark.slow

NUMBERS = count()
CALLS = {
    "whoami": ("GET", r"whoami-v2"),
    "info": ("GET", r"^/api/models/me/\w+$"),
    "create": ("POST", r"/api/repos/create"),
    "head": ("GET", r"/revision/"),
    "tree": ("GET", r"/tree/"),
    "preupload": ("POST", r"/preupload/"),
    "batch": ("POST", r"/objects/batch"),
    "put": ("PUT", r"."),
    "verify": ("POST", r"/lfs/verify"),
    "yaml": ("POST", r"validate-yaml"),
    "commit": ("POST", r"/commit/"),
}
FAULTS: dict[str, dict[str, Any]] = {
    **{str(status): {"kind": "status", "status": status} for status in (500, 502, 503, 504)},
    "429 Retry-After": {"kind": "status", "status": 429, "headers": {"Retry-After": "0"}},
    "429 RateLimit": {"kind": "status", "status": 429, "headers": {"RateLimit": '"api";r=0;t=0'}},
    "hang": {"kind": "hang", "seconds": 30.0},
    "drop": {"kind": "drop", "after": 10},
    "lost-reply": {"kind": "lost-reply"},
    "cut": {"kind": "cut", "after": 5},
}
Pushing = Callable[[PushRequest], dict[str, Any]]


@pytest.fixture(scope="module")
def hub() -> Iterator[TestHub]:
    with TestHub() as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub_home")


def _environment(hub: TestHub, home: Path, **options: Any) -> dict[str, str]:
    held = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HF_HUB_DISABLE_XET")}
    return (
        held | hub.environment(home, **options) | {"HF_HUB_VERBOSITY": "critical", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    )


class Child:
    """The pushing process, kept for many pushes."""

    def __init__(self, env: dict[str, str]) -> None:
        command = [sys.executable, "-m", "nlp_ft.hub.worker"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.steps: list[str] = []

    def start(self, push_request: PushRequest) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(push_request.to_json() + "\n")
        self.process.stdin.flush()

    def end(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        self.steps = []
        for line in self.process.stdout:
            held = json.loads(line)
            if "done" in held or "failed" in held:
                return held
            self.steps.append(held["step"])
        raise AssertionError("the pushing process ended")

    def __call__(self, push_request: PushRequest) -> dict[str, Any]:
        self.start(push_request)
        return self.end()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def pushing(hub: TestHub, home: Path) -> Iterator[Child]:
    child = Child(_environment(hub, home))
    yield child
    child.close()


@pytest.fixture(scope="module")
def pushing_xet(hub: TestHub, home: Path) -> Iterator[Child]:
    child = Child(_environment(hub, home, xet=True))
    yield child
    child.close()


@pytest.fixture
def push_request(tmp_path: Path, hub: TestHub) -> PushRequest:
    """A staged folder, a repository of its own, and no fault but those of the test."""
    hub.faults.clear()
    return _staged(tmp_path / "staged", f"me/m{next(NUMBERS)}", b"one")


def _staged(folder: Path, repo: str, weights: bytes) -> PushRequest:
    files = {
        "README.md": b"---\nlibrary_name: transformers\n---\n# x\n" + weights,
        "config.json": b'{"made": "' + weights + b'"}',
        "tokenizer.json": b"{}",
        "adapter/adapter_model.safetensors": b"\0" * 500 + weights + repo.encode(),
        "model.safetensors": b"\1" * 2000 + weights + repo.encode(),
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return PushRequest(repo, str(folder), list(files), backoff=0.02, read_timeout=0.4, deadline=time.time() + 60)


def _held(push_request: PushRequest) -> dict[str, bytes]:
    return {name: (Path(push_request.folder) / name).read_bytes() for name in push_request.files}


def _commits(hub: TestHub, push_request: PushRequest, revision: str = "main") -> int:
    try:
        return len(hub.commits(push_request.repo, revision))
    except KeyError:
        return 0


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CALLS)
def test_one_fault_ends_in_one_commit_with_every_file(
    hub: TestHub, push_request: PushRequest, pushing: Pushing, call: str, fault: str
) -> None:
    method, path = CALLS[call]
    planted = hub.fault(method, path, **FAULTS[fault])
    found = pushing(push_request)
    assert planted.hits == 1
    assert "done" in found, found
    assert _commits(hub, push_request) == 1
    assert hub.files(push_request.repo) == _held(push_request)
    assert hub.repo(push_request.repo).visibility == "private"


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("call", [name for name in CALLS if name not in ("put", "verify")])
def test_a_call_that_never_works_ends_after_a_few_tries_in_one_line(
    hub: TestHub, push_request: PushRequest, pushing: Pushing, call: str, status: int
) -> None:
    method, path = CALLS[call]
    planted = hub.fault(method, path, "status", None, status=status)
    found = pushing(push_request)
    assert f"({status}, " in found["failed"]
    assert ("rate limit" in found["failed"]) == (status == 429)
    assert "\n" not in found["failed"]
    assert planted.hits == 6
    assert _commits(hub, push_request) == 0
    hub.faults.clear()
    assert "done" in pushing(push_request)
    assert (_commits(hub, push_request), hub.files(push_request.repo)) == (1, _held(push_request))


@pytest.mark.parametrize(
    ("call", "status", "code", "said"),
    [
        ("whoami", 401, "", "the Hub does not know this token (401)"),
        ("create", 403, "", "this token may not write to"),
        ("create", 404, "", "is the name right?"),
        ("create", 402, "", "the Hub accepts no more files from me (402"),
        ("info", 403, "GatedRepo", "is gated (403): ask its owner"),
        ("preupload", 403, "", "this token may not write to"),
        ("preupload", 404, "RepoNotFound", "is the name right?"),
        ("commit", 403, "", "this token may not write to"),
        ("commit", 413, "", "the Hub accepts no more files from me (413"),
        ("commit", 412, "", "another client keeps changing main of"),
        ("commit", 409, "", "another client keeps changing main of"),
        ("commit", 400, "", "the Hub refuses (400, commit): a fault of the table"),
        ("put", 403, "", "this token may not write to"),
    ],
)
def test_a_plain_no_is_one_line_that_says_what_to_do(
    hub: TestHub, push_request: PushRequest, pushing: Pushing, call: str, status: int, code: str, said: str
) -> None:
    method, path = CALLS[call]
    hub.fault(method, path, "status", None, status=status, headers={"X-Error-Code": code} if code else {})
    found = pushing(push_request)
    assert said in found["failed"], found
    assert "\n" not in found["failed"]
    assert _commits(hub, push_request) == 0


@pytest.mark.parametrize("call", ["put", "verify"])
def test_an_address_that_has_run_out_is_asked_for_anew(
    hub: TestHub, push_request: PushRequest, pushing: Pushing, call: str
) -> None:
    method, path = CALLS[call]
    hub.fault(method, path, "status", 1, status=403 if call == "put" else 404)
    assert "done" in pushing(push_request)
    assert hub.files(push_request.repo) == _held(push_request)


def test_a_file_that_arrived_needs_no_second_verification(
    hub: TestHub, push_request: PushRequest, pushing: Pushing
) -> None:
    hub.fault(*CALLS["verify"], "status", None, status=503)
    assert "done" in pushing(push_request)
    assert hub.files(push_request.repo) == _held(push_request)


def test_a_repository_that_is_there_is_gone_on_with(hub: TestHub, push_request: PushRequest, pushing: Pushing) -> None:
    hub.new_repo(push_request.repo, visibility="private")
    assert "done" in pushing(push_request)
    assert not [one for one in hub.calls("POST", "repos/create") if push_request.repo in str(one)]
    assert _commits(hub, push_request) == 1


def test_two_who_make_the_same_repository_at_once_both_go_on(
    hub: TestHub, push_request: PushRequest, pushing: Pushing
) -> None:
    hub.new_repo(push_request.repo, visibility="private")
    hub.fault(*CALLS["info"], "status", status=404, headers={"X-Error-Code": "RepoNotFound"})
    assert "done" in pushing(push_request)
    assert _commits(hub, push_request) == 1


def test_a_busy_hub_is_asked_six_times_and_no_more(hub: TestHub, push_request: PushRequest, pushing: Pushing) -> None:
    body = b'{"error":"Cannot create repo: another conflicting operation is in progress"}'
    planted = hub.fault(*CALLS["create"], "status", None, status=409, body=body)
    assert "the Hub is busy" in pushing(push_request)["failed"]
    assert planted.hits == 6
    planted.count = 2
    assert "done" in pushing(push_request)


def test_nothing_is_sent_twice(hub: TestHub, push_request: PushRequest, pushing: Child) -> None:
    first = pushing(push_request)["done"]
    before = len(hub.requests)
    again = pushing(push_request)["done"]
    assert (again["sent"], again["removed"], again["commit"]) == ([], [], first["commit"])
    assert {one.method for one in hub.requests[before:]} == {"GET"}
    (Path(push_request.folder) / "config.json").write_text('{"other": 1}')
    before = len(hub.requests)
    assert pushing(push_request)["done"]["sent"] == ["config.json"]
    assert not [one for one in hub.requests[before:] if one.method == "PUT" or "batch" in one.path]
    assert _commits(hub, push_request) == 2


def test_a_push_that_was_cut_short_sends_only_what_is_missing(
    hub: TestHub, push_request: PushRequest, pushing: Child
) -> None:
    hub.fault(*CALLS["commit"], "status", None, status=403)
    assert "failed" in pushing(push_request)
    hub.faults.clear()
    before = len(hub.requests)
    assert "done" in pushing(push_request)
    assert not [one for one in hub.requests[before:] if one.method == "PUT"]
    assert _commits(hub, push_request) == 1


def test_files_of_an_earlier_model_go_and_those_of_its_user_stay(
    hub: TestHub, push_request: PushRequest, pushing: Pushing
) -> None:
    pushing(push_request)
    names = [name for name in push_request.files if not name.startswith("adapter/")]
    (Path(push_request.folder) / "notes.txt").write_text("mine")
    assert pushing(replace(push_request, files=[*push_request.files, "notes.txt"]))["done"]["sent"] == ["notes.txt"]
    found = pushing(replace(push_request, files=names))["done"]
    assert (found["sent"], found["removed"]) == ([], ["adapter/adapter_model.safetensors"])
    assert set(hub.files(push_request.repo)) == {*names, "notes.txt"}


def test_a_commit_of_somebody_else_meanwhile_is_built_upon(
    hub: TestHub, push_request: PushRequest, pushing: Child, pushing_xet: Child, tmp_path: Path
) -> None:
    pushing(push_request)
    other = _staged(tmp_path / "other", push_request.repo, b"two")
    mine = _staged(tmp_path / "mine", push_request.repo, b"three")
    hub.fault(*CALLS["commit"], "slow", 1, seconds=1.0)
    pushing.start(mine)
    while not [one for one in hub.calls("POST", "validate-yaml") if one.status][1:]:
        time.sleep(0.05)
    found = pushing_xet(other), pushing.end()
    assert all("done" in one for one in found)
    held = [_of(commit.files, hub) for commit in hub.commits(push_request.repo)]
    assert all(one in (_held(push_request), _held(other), _held(mine)) for one in held)
    assert 2 <= len(held) <= 3


def _of(files: Any, hub: TestHub) -> dict[str, bytes]:
    blobs = hub.blobs()
    return {path: blobs[file.key] for path, file in files.items() if path != ".gitattributes"}


def test_a_public_repository_is_not_pushed_to_unless_it_is_said(
    hub: TestHub, push_request: PushRequest, pushing: Pushing
) -> None:
    hub.new_repo(push_request.repo, visibility="public")
    for private in (None, True):
        assert (
            "--hub_private_repo false to push to a public one"
            in pushing(replace(push_request, private=private))["failed"]
        )
    assert _commits(hub, push_request) == 0
    assert "done" in pushing(replace(push_request, private=False))


def test_a_public_repository_is_made_where_it_is_said(
    hub: TestHub, push_request: PushRequest, pushing: Pushing
) -> None:
    assert "done" in pushing(replace(push_request, private=False))
    assert hub.repo(push_request.repo).visibility == "public"


def test_a_private_repository_is_not_made_public(hub: TestHub, push_request: PushRequest, pushing: Pushing) -> None:
    hub.new_repo(push_request.repo, visibility="private")
    assert "stays private" in pushing(replace(push_request, private=False))["done"]["notes"][0]
    assert hub.repo(push_request.repo).visibility == "private"


@pytest.mark.parametrize("fault", [None, "lost-reply", "503"])
def test_a_branch_is_made_where_it_is_missing(
    hub: TestHub, push_request: PushRequest, pushing: Pushing, fault: str | None
) -> None:
    if fault:
        hub.fault("POST", r"/branch/", **FAULTS[fault])
    assert "done" in pushing(replace(push_request, revision="tried"))
    assert hub.files(push_request.repo, "tried") == _held(push_request)
    assert _commits(hub, push_request) == 0


@pytest.mark.parametrize("fault", [None, "lost-reply", "503", "hang"])
def test_one_pull_request_is_made(hub: TestHub, push_request: PushRequest, pushing: Pushing, fault: str | None) -> None:
    if fault:
        hub.fault(*CALLS["commit"], **FAULTS[fault])
    found = pushing(replace(push_request, create_pr=True))
    assert found["done"]["url"].endswith("/discussions/1")
    assert [ref for ref in hub.repo(push_request.repo).refs if "/pr/" in ref] == ["refs/pr/1"]
    assert hub.files(push_request.repo, "refs/pr/1") == _held(push_request)
    assert hub.files(push_request.repo) == {}


def test_a_repository_of_others_says_whose_the_token_is(
    hub: TestHub, push_request: PushRequest, pushing: Pushing
) -> None:
    found = pushing(replace(push_request, repo="stranger/x"))
    assert "stranger is not among the names this token belongs to: me, team" in found["failed"]


def test_an_ignored_file_is_not_passed_over_in_silence(
    hub: TestHub, push_request: PushRequest, pushing: Pushing
) -> None:
    body = json.dumps(
        {
            "files": [
                {"path": name, "uploadMode": "regular", "shouldIgnore": name == "config.json"}
                for name in push_request.files
            ]
        }
    ).encode()
    hub.fault(*CALLS["preupload"], "status", None, status=200, body=body)
    assert "the commit left out config.json; is it in the .gitignore" in pushing(push_request)["failed"]
    assert _commits(hub, push_request) == 1


def test_large_files_go_in_parts(home: Path, tmp_path: Path) -> None:
    with TestHub(multipart_over=1000, part_size=700) as hub:
        push_request = _staged(tmp_path / "staged", "me/parts", b"one")
        hub.fault("PUT", r".", "status", 1, skip=1, status=500)
        child = Child(_environment(hub, home))
        assert "done" in child(push_request)
        child.close()
        assert hub.files("me/parts") == _held(push_request)


def test_a_full_account_is_told_so(home: Path, tmp_path: Path) -> None:
    with TestHub(quota=100) as hub:
        push_request = _staged(tmp_path / "staged", "me/full", b"one")
        for xet in (False, True):
            child = Child(_environment(hub, home, xet=xet))
            failed = child(push_request)["failed"]
            child.close()
            assert "the Hub accepts no more files from me (" in failed
        assert _commits(hub, push_request) == 0


# ---- Xet


def test_xet_sends_every_file_in_one_commit(hub: TestHub, push_request: PushRequest, pushing_xet: Pushing) -> None:
    assert "done" in pushing_xet(push_request)
    assert hub.files(push_request.repo) == _held(push_request)
    assert _commits(hub, push_request) == 1
    assert pushing_xet(push_request)["done"]["sent"] == []


@pytest.mark.parametrize("fault", ["503", "lost-reply", "hang", "429 Retry-After"])
def test_a_lost_commit_over_xet_is_no_second_commit(
    hub: TestHub, push_request: PushRequest, pushing_xet: Pushing, fault: str
) -> None:
    hub.fault(*CALLS["commit"], **FAULTS[fault])
    assert "done" in pushing_xet(push_request)
    assert (_commits(hub, push_request), hub.files(push_request.repo)) == (1, _held(push_request))


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_write_token_that_fails_once_is_asked_for_again(
    hub: TestHub, push_request: PushRequest, pushing_xet: Pushing, status: int
) -> None:
    hub.fault("GET", "xet-write-token", "status", status=status)
    assert "done" in pushing_xet(push_request)
    assert hub.files(push_request.repo) == _held(push_request)


# ---- the deadline, from outside


def _children() -> set[str]:
    """The processes that this one has started and that are not gone."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {pid for path in tasks for pid in path.read_text().split()}


@pytest.mark.parametrize("call", ["whoami", "commit"])
def test_a_hub_that_hangs_for_ever_is_left_at_the_deadline(
    hub: TestHub, home: Path, push_request: PushRequest, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    for name, value in hub.environment(home).items():
        monkeypatch.setenv(name, value)
    planted = hub.fault(*CALLS[call], "hang", None, seconds=600)
    before = _children()
    for seconds in (6, 90):  # on a busy machine the pushing process may not come so far in a few seconds
        with pytest.raises(PushError) as caught:
            send(replace(push_request, read_timeout=1200), seconds)
        if planted.hits:
            break
    assert planted.hits == 1
    assert _children() == before  # the pushing process is gone, with its question unanswered
    assert str(caught.value) == f"the Hub was not done within {seconds} s ({call}); --hub_timeout sets another limit"
    assert _commits(hub, push_request) == 0


def test_a_wait_beyond_the_deadline_is_not_begun(hub: TestHub, push_request: PushRequest, pushing: Pushing) -> None:
    planted = hub.fault(*CALLS["preupload"], "status", None, status=429, headers={"Retry-After": "3600"})
    patient = replace(push_request, deadline=time.time() + 600)
    failed = pushing(patient)["failed"]
    assert planted.hits == 1
    assert time.time() < patient.deadline  # it did not sit out what was left
    assert "the next attempt was due in 3600 s" in failed
    assert "rate limit" in failed


def test_no_hub_at_all_is_one_line(home: Path, push_request: PushRequest) -> None:
    with TestHub() as gone:
        env = _environment(gone, home)
    child = Child(env)
    assert "the connection to the Hub failed (whoami" in child(push_request)["failed"]
    child.close()


def test_no_network_allowed_is_one_line(hub: TestHub, home: Path, push_request: PushRequest) -> None:
    child = Child(_environment(hub, home) | {"HF_HUB_OFFLINE": "1"})
    assert child(push_request)["failed"] == "HF_HUB_OFFLINE is set, and a push needs the network; unset it"
    child.close()


def test_a_token_that_only_reads_is_told_so(hub: TestHub, home: Path, push_request: PushRequest) -> None:
    child = Child(_environment(hub, home, token=hub.READ))
    assert "this token only reads" in child(push_request)["failed"]
    child.close()


def test_a_process_whose_parent_was_killed_ends(hub: TestHub, home: Path, push_request: PushRequest) -> None:
    hub.fault(*CALLS["whoami"], "hang", None, seconds=60)
    script = (
        "import sys; from nlp_ft.hub import push_request, run_worker; "
        "run_worker.send(push_request.PushRequest.from_json(sys.argv[1]), 60)"
    )
    before = len(hub.requests)
    command = [sys.executable, "-c", script, replace(push_request, read_timeout=120).to_json()]
    parent = subprocess.Popen(command, env=_environment(hub, home))
    while len(hub.requests) == before:
        time.sleep(0.1)
    child = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()[0]
    parent.kill()
    parent.wait()
    for _ in range(100):
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        time.sleep(0.1)
    raise AssertionError("it still runs")
