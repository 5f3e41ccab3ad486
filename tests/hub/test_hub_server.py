"""The test Hub as its clients see it: huggingface_hub over the socket in both modes, then programs nobody here wrote."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fake_hub import Fault, TestHub
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    constants,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

WEIGHTS = bytes(range(256)) * 400
FILES = {
    "README.md": b"---\ntags: [tiny]\nlicense: mit\n---\n# A model\n",
    "config.json": b'{"architectures": ["BertForSequenceClassification"]}',
    "model.safetensors": WEIGHTS,
    "sub/notes.txt": b"notes",
}
BOTH = pytest.mark.parametrize("xet", [False, True], ids=["lfs", "xet"])


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This process may use the network: 127.0.0.1 alone is asked."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet_cache"))


@pytest.fixture
def speak_xet(xet: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", not xet)


@pytest.fixture
def hub() -> Iterator[TestHub]:
    with TestHub() as hub:
        yield hub


@pytest.fixture
def api(hub: TestHub) -> HfApi:
    api = user(hub)
    api.create_repo("me/x")
    return api


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "folder"


def user(hub: TestHub, token: str | bool = TestHub.WRITE) -> HfApi:
    return HfApi(endpoint=hub.url, token=token)


def put(api: HfApi, path: str = "a.txt", data: bytes = b"a", **more: Any) -> Any:
    return api.upload_file(repo_id="me/x", path_in_repo=path, path_or_fileobj=data, **more)


def get(hub: TestHub, path: str, cache: Path, token: str | bool = TestHub.WRITE, **more: Any) -> bytes:
    return Path(hf_hub_download("me/x", path, endpoint=hub.url, token=token, cache_dir=cache, **more)).read_bytes()


def snapshot(url: str, cache: Path, token: str | bool = TestHub.WRITE) -> dict[str, bytes]:
    found = Path(snapshot_download("me/x", endpoint=url, token=token, cache_dir=cache))
    return {str(path.relative_to(found)): path.read_bytes() for path in found.rglob("*") if path.is_file()}


# a round trip, LFS and Xet


@BOTH
@pytest.mark.usefixtures("speak_xet")
def test_an_uploaded_folder_comes_back_byte_by_byte(
    hub: TestHub, api: HfApi, folder: Path, xet: bool, tmp_path: Path
) -> None:
    done = api.upload_folder(repo_id="me/x", folder_path=folder)
    commit = hub.commits("me/x")[-1]
    assert (done.oid, len(done.oid), hub.files("me/x")) == (commit.id, 40, FILES)
    assert bool(commit.files["model.safetensors"].xet) == xet
    assert len(hub.calls("PUT", "^/blobs/")) == (0 if xet else 1)
    back = snapshot(hub.url, tmp_path / "cache")
    assert (back.pop(".gitattributes")[:4], back) == (b"*.7z", FILES)


@BOTH
@pytest.mark.usefixtures("speak_xet")
def test_a_folder_uploaded_again_makes_no_commit(hub: TestHub, api: HfApi, folder: Path) -> None:
    first = api.upload_folder(repo_id="me/x", folder_path=folder)
    hub.requests.clear()
    assert api.upload_folder(repo_id="me/x", folder_path=folder).oid == first.oid
    assert not hub.calls("PUT|POST", r"^/blobs/|/commit/")
    assert len(hub.commits("me/x")) == 1


@BOTH
@pytest.mark.usefixtures("speak_xet")
def test_a_large_file_is_read_in_part_by_plain_http(hub: TestHub, api: HfApi, folder: Path) -> None:
    api.upload_folder(repo_id="me/x", folder_path=folder)
    headers = {"Authorization": f"Bearer {hub.READ}", "Range": "bytes=100-199"}
    part = httpx2.get(f"{hub.url}/me/x/resolve/main/model.safetensors", headers=headers, follow_redirects=True)
    assert (part.status_code, part.content) == (206, WEIGHTS[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(WEIGHTS)}"


def test_the_hashes_of_xet_are_those_its_own_library_counts(
    hub: TestHub, api: HfApi, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hf_xet

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    api.upload_folder(repo_id="me/x", folder_path=folder)
    tools: Any = hf_xet  # compiled, without types
    counted = tools.hash_files([str(folder / "model.safetensors")])[0]
    assert hub.xet
    assert hub.xet.hashes()[hashlib.sha256(WEIGHTS).hexdigest()] == (counted.hash, len(WEIGHTS))


def test_a_hub_without_xet_is_of_no_use_to_a_client_with_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    with TestHub(xet=False) as hub:
        user(hub).create_repo("me/x")
        with pytest.raises(ConnectionError):
            user(hub).upload_folder(repo_id="me/x", folder_path=folder)
        assert hub.calls("GET", "/xet-write-token/main")[0].status == 404


def test_a_large_file_goes_up_in_parts(tmp_path: Path) -> None:
    with TestHub(multipart_over=100_000, part_size=30_000) as hub:
        api = user(hub)
        api.create_repo("me/x")
        put(api, "model.bin", WEIGHTS)
        assert [call.size for call in sorted(hub.calls("PUT"), key=lambda call: call.path)] == [30_000] * 3 + [12_400]
        assert get(hub, "model.bin", tmp_path) == WEIGHTS


# who may do what


def test_a_private_repository_is_hidden_from_others(hub: TestHub, tmp_path: Path) -> None:
    api = user(hub)
    api.create_repo("me/x", private=True)
    put(api)
    assert hub.repo("me/x").visibility == "private"
    for token, status in ((False, 401), (hub.STRANGER, 404)):
        with pytest.raises(RepositoryNotFoundError) as error:
            user(hub, token).model_info("me/x")
        assert error.value.response.status_code == status
        with pytest.raises(RepositoryNotFoundError):
            get(hub, "a.txt", tmp_path, token)
    assert get(hub, "a.txt", tmp_path, hub.READ) == b"a"
    api.update_repo_settings("me/x", visibility="public")
    assert user(hub, False).model_info("me/x").private is False


@pytest.mark.parametrize(
    ("token", "id", "status"),
    [(TestHub.READ, "me/x", 403), (TestHub.WRITE, "nobody/x", 403), ("hf_unknown", "me/x", 401), (False, "me/x", 401)],
)
def test_a_token_without_the_right_makes_no_repository(hub: TestHub, token: str | bool, id: str, status: int) -> None:
    with pytest.raises(HfHubHTTPError) as error:
        user(hub, token).create_repo(id)
    assert (error.value.response.status_code, hub.repos) == (status, {})


@pytest.mark.parametrize(("token", "status"), [(TestHub.READ, 403), (TestHub.STRANGER, 403), (False, 401)])
def test_a_token_without_the_right_pushes_nothing(hub: TestHub, api: HfApi, token: str | bool, status: int) -> None:
    with pytest.raises(HfHubHTTPError) as error:
        put(user(hub, token))
    assert (error.value.response.status_code, hub.commits("me/x")) == (status, [])


def test_whoami_tells_the_owner_and_an_organisation_is_written_to(hub: TestHub) -> None:
    told = user(hub).whoami()
    assert (told["name"], told["orgs"][0]["name"], told["auth"]["accessToken"]["role"]) == ("me", "team", "write")
    assert user(hub).create_repo("team/x").repo_id == "team/x"
    assert user(hub).create_repo("short").repo_id == "me/short"
    with pytest.raises(HfHubHTTPError, match=r"Invalid user token"):
        user(hub, "hf_unknown").whoami()


def test_a_gated_and_a_disabled_repository_say_so(hub: TestHub, api: HfApi, tmp_path: Path) -> None:
    put(api)
    hub.repo("me/x").gated = True
    with pytest.raises(GatedRepoError):
        get(hub, "a.txt", tmp_path, hub.STRANGER)
    assert get(hub, "a.txt", tmp_path) == b"a"
    hub.repo("me/x").disabled = True
    with pytest.raises(DisabledRepoError):
        api.model_info("me/x")


@BOTH
@pytest.mark.usefixtures("speak_xet")
def test_a_full_quota_refuses_large_files(folder: Path) -> None:
    with TestHub(quota=1000) as hub:
        api = user(hub)
        api.create_repo("me/x")
        put(api)
        with pytest.raises((ValueError, HfHubHTTPError), match="storage limit reached"):
            api.upload_folder(repo_id="me/x", folder_path=folder)
        assert list(hub.files("me/x")) == ["a.txt"]


def test_the_blob_store_takes_no_token_no_other_url_and_no_other_bytes(hub: TestHub) -> None:
    name = hashlib.sha256(b"right").hexdigest()
    url = hub.blob_store.upload_url(name)
    assert httpx2.put(url, content=b"right", headers={"Authorization": "Bearer x"}).status_code == 400
    assert httpx2.put(url, content=b"wrong").status_code == 400
    assert httpx2.put(url + "0", content=b"right").status_code == 403
    assert httpx2.get(url).status_code == 403  # signed for PUT
    assert hub.blobs() == {}
    assert httpx2.put(url, content=b"right").status_code == 200
    assert hub.blobs() == {name: b"right"}


@BOTH
@pytest.mark.usefixtures("speak_xet")
def test_every_byte_that_ever_came_is_found_in_a_commit_or_not(hub: TestHub, api: HfApi) -> None:
    hub.fault("POST", "/commit/", "status", status=409)
    with pytest.raises(HfHubHTTPError, match="409"):
        put(api, "model.bin", b"secret-1" + WEIGHTS)
    put(api, data=b"secret-2", commit_message="secret-3")
    api.delete_file("a.txt", "me/x")
    kept = b"".join(hub.blobs().values())
    assert (hub.files("me/x"), [kept.count(b"secret-%d" % i) for i in (1, 2, 3)]) == ({}, [1, 1, 1])


# repositories, revisions and commits


def test_a_repository_that_exists_is_a_conflict_that_names_it(hub: TestHub, api: HfApi) -> None:
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo("me/x")
    assert (error.value.response.status_code, error.value.response.json()["url"]) == (409, f"{hub.url}/me/x")
    assert api.create_repo("me/x", exist_ok=True) == f"{hub.url}/me/x"
    api.create_repo("me/x", repo_type="dataset")
    api.delete_repo("me/x")
    assert [*hub.repos] == [("dataset", "me/x")]


def test_a_commit_on_a_head_that_moved_is_refused(hub: TestHub, api: HfApi) -> None:
    old = api.model_info("me/x").sha
    put(api, parent_commit=old)
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as error:
        put(api, "b.txt", parent_commit=old)
    assert (error.value.response.status_code, [*hub.files("me/x")]) == (412, ["a.txt"])


def test_of_two_pushes_at_once_on_one_head_one_wins(hub: TestHub, api: HfApi) -> None:
    old = api.model_info("me/x").sha
    hub.fault("POST", "/preupload/", "slow", count=2, seconds=0.2)
    statuses = []

    def push(path: str) -> None:
        try:
            put(user(hub), path, parent_commit=old)
            statuses.append(200)
        except HfHubHTTPError as error:
            statuses.append(error.response.status_code)

    threads = [threading.Thread(target=push, args=(path,)) for path in ("a.txt", "b.txt")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sorted(statuses), len(hub.files("me/x"))) == ([200, 412], 1)


def test_a_commit_of_a_file_that_was_never_uploaded_is_refused(hub: TestHub, api: HfApi) -> None:
    lines = [
        {"key": "header", "value": {"summary": "s"}},
        {"key": "lfsFile", "value": {"path": "m.bin", "algo": "sha256", "oid": "0" * 64, "size": 3}},
    ]
    body = "\n".join(json.dumps(line) for line in lines)
    headers = {"Authorization": f"Bearer {hub.WRITE}"}
    answer = httpx2.post(f"{hub.url}/api/models/me/x/commit/main", content=body, headers=headers)
    assert (answer.status_code, hub.commits("me/x")) == (400, [])


def test_a_pull_request_leaves_main_as_it_was(hub: TestHub, api: HfApi, tmp_path: Path) -> None:
    done = put(user(hub, hub.STRANGER), create_pr=True)
    assert (done.pr_revision, done.pr_url) == ("refs/pr/1", f"{hub.url}/me/x/discussions/1")
    assert (hub.files("me/x"), hub.files("me/x", "refs/pr/1")) == ({}, {"a.txt": b"a"})
    assert get(hub, "a.txt", tmp_path, revision="refs/pr/1") == b"a"
    requests = api.list_repo_refs("me/x", include_pull_requests=True).pull_requests
    assert requests
    assert [found.ref for found in requests] == ["refs/pr/1"]


def test_branches_and_tags_are_made_pushed_to_and_listed(hub: TestHub, api: HfApi, tmp_path: Path) -> None:
    first = put(api).oid
    api.create_tag("me/x", tag="v1")
    api.create_branch("me/x", branch="try/it")
    put(api, data=b"b", revision="try/it")
    assert (hub.files("me/x"), hub.files("me/x", "try/it")) == ({"a.txt": b"a"}, {"a.txt": b"b"})
    refs = api.list_repo_refs("me/x")
    assert {ref.name: ref.target_commit for ref in refs.tags} == {"v1": first}
    assert {ref.name for ref in refs.branches} == {"main", "try/it"}
    assert [commit.title for commit in api.list_repo_commits("me/x")] == [
        "Upload a.txt with huggingface_hub",
        "initial commit",
    ]
    assert get(hub, "a.txt", tmp_path, revision="v1") == b"a"
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_branch("me/x", branch="try/it")
    api.delete_branch("me/x", branch="try/it")
    with pytest.raises(RevisionNotFoundError):
        get(hub, "a.txt", tmp_path / "new", revision="try/it")


def test_files_are_deleted_by_a_commit(hub: TestHub, api: HfApi, folder: Path) -> None:
    api.upload_folder(repo_id="me/x", folder_path=folder)
    operations = [CommitOperationDelete("sub/"), CommitOperationAdd("a.txt", b"a")]
    api.create_commit("me/x", operations, commit_message="less")
    assert {*hub.files("me/x")} == {"README.md", "config.json", "model.safetensors", "a.txt"}
    with pytest.raises(EntryNotFoundError):
        api.delete_file("nothing.txt", "me/x")


def test_a_card_with_bad_metadata_stops_the_push(hub: TestHub, api: HfApi, folder: Path) -> None:
    (folder / "README.md").write_text("---\nbase_model: /tmp/a/b\n---\n", encoding="utf-8")
    with pytest.raises(ValueError, match='"base_model" with value "/tmp/a/b" is not valid'):
        api.upload_folder(repo_id="me/x", folder_path=folder)
    assert hub.commits("me/x") == []


# reading


def test_a_tree_comes_in_pages_and_with_its_directories(folder: Path) -> None:
    with TestHub(page_size=2) as hub:
        api = user(hub)
        api.create_repo("me/x")
        api.upload_folder(repo_id="me/x", folder_path=folder)
        assert {*api.list_repo_files("me/x")} == {".gitattributes", *FILES}
        hub.requests.clear()
        assert [entry.path for entry in api.list_repo_tree("me/x", recursive=True)] == sorted(
            [".gitattributes", "sub", *FILES]
        )
        assert len(hub.calls("GET", "/tree/")) == 3
        assert [entry.path for entry in api.list_repo_tree("me/x", "sub")] == ["sub/notes.txt"]
        found = api.get_paths_info("me/x", ["sub", "config.json", "model.safetensors", "nothing"])
        assert [entry.path for entry in found] == ["config.json", "model.safetensors", "sub"]


def test_what_a_model_is_follows_from_its_card_and_config(hub: TestHub, api: HfApi, folder: Path) -> None:
    api.upload_folder(repo_id="me/x", folder_path=folder)
    info = api.model_info("me/x", files_metadata=True)
    assert (info.pipeline_tag, info.library_name, info.tags) == ("text-classification", "transformers", ["tiny"])
    assert info.card_data
    assert info.card_data.license == "mit"
    sizes = {found.rfilename: found.size for found in info.siblings or ()}
    assert {path: sizes[path] for path in FILES} == {path: len(data) for path, data in FILES.items()}


def test_what_is_missing_is_named_and_remembered(hub: TestHub, api: HfApi, tmp_path: Path) -> None:
    put(api)
    with pytest.raises(EntryNotFoundError):
        get(hub, "nothing.txt", tmp_path)
    assert [*tmp_path.glob("models--me--x/.no_exist/*/nothing.txt")]
    with pytest.raises(RevisionNotFoundError):
        get(hub, "a.txt", tmp_path, revision="nowhere")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("nobody")


def test_the_names_of_files_are_those_of_git(hub: TestHub, api: HfApi) -> None:
    put(api, data=b"hello\n")
    head = httpx2.head(f"{hub.url}/me/x/resolve/main/a.txt")
    assert head.headers["ETag"] == '"ce013625030ba8dba906f756967f9e9ca394464a"'  # git hash-object
    assert (head.headers["Content-Length"], head.headers["X-Repo-Commit"]) == ("6", hub.commits("me/x")[0].id)


# the fault table


def test_a_status_comes_with_its_headers_for_as_many_requests_as_asked(hub: TestHub) -> None:
    fault = hub.fault("GET", "whoami", "status", count=2, skip=1, status=429, headers={"Retry-After": "7"})
    answers = [
        httpx2.get(f"{hub.url}/api/whoami-v2", headers={"Authorization": f"Bearer {hub.READ}"}) for _ in range(4)
    ]
    assert [answer.status_code for answer in answers] == [200, 429, 429, 200]
    assert (answers[1].headers["Retry-After"], fault.hits) == ("7", 2)
    assert [call.fault for call in hub.requests] == [None, "status", "status", None]


def test_a_hang_says_nothing_and_ends_with_the_hub() -> None:
    with TestHub([Fault("GET", "whoami", "hang", seconds=3600)]) as hub:
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.get(f"{hub.url}/api/whoami-v2", timeout=0.2)
        assert hub.requests[0].status is None


def test_a_commit_that_hung_is_not_made(hub: TestHub, api: HfApi) -> None:
    hub.fault("POST", "/commit/", "hang", seconds=0.1)
    with pytest.raises(httpx2.RemoteProtocolError):
        put(api)
    assert hub.commits("me/x") == []


def test_an_upload_cut_in_the_middle_is_sent_again_whole(hub: TestHub, api: HfApi) -> None:
    hub.fault("PUT", "^/blobs/", "drop", after=5000)
    put(api, "model.bin", WEIGHTS)
    assert [(call.size, call.status) for call in hub.calls("PUT")] == [(5000, None), (len(WEIGHTS), 200)]
    assert hub.files("me/x") == {"model.bin": WEIGHTS}


def test_a_lost_reply_leaves_the_commit_and_the_next_push_makes_none(hub: TestHub, api: HfApi, folder: Path) -> None:
    hub.fault("POST", "/commit/", "lost-reply")
    with pytest.raises(httpx2.RemoteProtocolError):
        api.upload_folder(repo_id="me/x", folder_path=folder)
    assert hub.files("me/x") == FILES
    api.upload_folder(repo_id="me/x", folder_path=folder)
    assert len(hub.commits("me/x")) == 1


def test_a_download_that_is_cut_is_resumed_where_it_stopped(
    hub: TestHub, api: HfApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)  # the client keeps whole ones, of 10 MB
    put(api, "model.bin", WEIGHTS)
    hub.fault("GET", "^/blobs/", "cut", after=70_000)
    assert get(hub, "model.bin", tmp_path) == WEIGHTS
    first, second = hub.calls("GET", "^/blobs/")
    assert (first.headers.get("Range"), second.headers.get("Range"), second.status) == (None, "bytes=70000-", 206)


def test_a_download_of_the_wrong_size_is_seen_and_one_of_wrong_bytes_is_not(
    hub: TestHub, api: HfApi, tmp_path: Path
) -> None:
    put(api, "model.bin", WEIGHTS)
    hub.fault("GET", "^/blobs/", "wrong-size", count=None)
    with pytest.raises(OSError, match="Consistency check failed"):
        get(hub, "model.bin", tmp_path)
    hub.faults.clear()
    hub.fault("GET", "^/blobs/", "corrupt")
    found = get(hub, "model.bin", tmp_path)
    assert (len(found), found == WEIGHTS) == (len(WEIGHTS), False)


def test_a_kind_of_fault_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="kind is one of status, hang"):
        Fault("GET", "", "hangs")


def test_a_defect_of_the_hub_itself_fails_the_test() -> None:
    with TestHub() as hub:
        headers = {"Authorization": f"Bearer {hub.WRITE}"}
        assert httpx2.post(f"{hub.url}/api/repos/create", content="no JSON", headers=headers).status_code == 500
        with pytest.raises(AssertionError, match="the test Hub itself failed:\nPOST /api/repos/create"):
            hub.__exit__(None, None, None)
        hub.errors.clear()


# programs nobody here wrote


@pytest.mark.slow
def test_transformers_and_datasets_push_and_load_by_name(hub: TestHub, tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "fake_hub/as_user.py"
    settings = os.environ | hub.environment(tmp_path, xet=True)
    done = subprocess.run([sys.executable, script], env=settings, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    for mode, told in json.loads(done.stdout.splitlines()[-1]).items():
        assert told["same_logits"]
        assert told["labels"] == told["expected_labels"]
        assert told["rows"] == told["loaded"] == told["streamed"]
        for id, kind in ((f"me/model_{mode}", "model"), (f"me/data_{mode}", "dataset")):
            files = hub.commits(id, kind=kind)[-1].files.values()
            assert {bool(file.xet) for file in files if file.sha256} == {mode == "xet"}
            assert hub.repo(id, kind).visibility == "private"


@pytest.mark.slow
def test_a_mirror_reads_it_end_to_end(hub: TestHub, api: HfApi, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("olah")
    api.upload_folder(repo_id="me/x", folder_path=folder)
    hub.requests.clear()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        own = f"127.0.0.1:{free.getsockname()[1]}"
    flags = {
        "--host": "127.0.0.1",
        "--port": own.partition(":")[2],
        "--hf-scheme": "http",
        "--hf-netloc": hub.url.removeprefix("http://"),
        "--hf-lfs-netloc": hub.own_blobs.port.url.removeprefix("http://"),
        "--mirror-netloc": own,
        "--mirror-lfs-netloc": own,
        "--repos-path": str(tmp_path / "repos"),
        "--log-path": str(tmp_path / "logs"),
    }
    command = [sys.executable, "-m", "olah.server", *(word for flag in flags.items() for word in flag)]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path) as mirror:
        try:
            wait_for(own, mirror)
            back = snapshot(f"http://{own}", tmp_path / "cache", token=False)
            asked = len(hub.requests)
            again = snapshot(f"http://{own}", tmp_path / "other", token=False)
        finally:
            mirror.terminate()
    assert back == again
    assert {path: data for path, data in back.items() if path != ".gitattributes"} == FILES
    assert asked
    assert not [call for call in hub.requests[asked:] if call.method == "GET" and "/resolve/" in call.path]


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    """Until something listens there."""
    host, _, port = address.partition(":")
    while process.poll() is None:
        try:
            return socket.create_connection((host, int(port)), 1).close()
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the mirror did not start")


@pytest.mark.slow
@pytest.mark.parametrize(("parts_over", "puts"), [(1 << 30, 1), (5_000_000, 2)], ids=["whole", "in_parts"])
def test_an_s3_server_of_others_keeps_the_large_files(tmp_path: Path, parts_over: int, puts: int) -> None:
    moto = pytest.importorskip("moto.server")
    weights = bytes([puts]) + WEIGHTS * 60  # the server forgets nothing between two tests
    store = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    host, port = store.get_host_and_port()
    try:
        with TestHub(blob_store=f"http://{host}:{port}", multipart_over=parts_over, part_size=5_300_000) as hub:
            api = user(hub)
            api.create_repo("me/x")
            put(api, "model.bin", weights)
            assert get(hub, "model.bin", tmp_path) == weights
            assert hub.files("me/x") == {"model.bin": weights}
            assert hub.own_blobs.names() == []
            assert len(hub.calls("POST", "complete_multipart")) == puts - 1
    finally:
        store.stop()
