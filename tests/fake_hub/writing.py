"""The calls that change something: repositories, branches, tags, uploads, commits."""

from __future__ import annotations

import base64
import json
from math import ceil
from typing import Any

from .cards import mistakes
from .state import Hub
from .store import File, Repo, blob_sha1, is_lfs, pointer
from .wire import Answer, Refusal, Request, json_answer

FULL = "Private repository storage limit reached, please upgrade your plan to increase your private storage limit."


def whoami(hub: Hub, request: Request) -> Answer:
    """`GET /api/whoami-v2`."""
    who = hub.known_user(request)
    return json_answer(
        {
            "type": "user",
            "id": blob_sha1(who.user.encode())[:24],
            "name": who.user,
            "fullname": who.user,
            "email": f"{who.user}@example.org",
            "isPro": False,
            "orgs": [{"name": name, "roleInOrg": "write"} for name in who.orgs],
            "auth": {"type": "access_token", "accessToken": {"displayName": "test", "role": who.role}},
        }
    )


def validate_yaml(hub: Hub, request: Request) -> Answer:
    """`POST /api/validate-yaml`: 400 with `errors` for a bad card."""
    asked = request.json()
    found = [{"message": message} for message in mistakes(asked["content"])]
    return json_answer({"errors": found, "warnings": []}, 400 if found else 200)


def create(hub: Hub, request: Request) -> Answer:
    """`POST /api/repos/create`; a repository begins with a commit of the Hub's own .gitattributes."""
    asked = request.json()
    kind, id = _named(hub, request, asked)
    url = {"url": f"{hub.url}/{prefix(kind)}{id}"}
    with hub.lock:
        if hub.repos.get((kind, id)):
            raise Refusal(409, f"You already created this {kind} repo: {id}", **url)
        hub.new_repo(id, kind, asked.get("visibility") or "public")
    return json_answer(url)


def delete(hub: Hub, request: Request) -> Answer:
    """`DELETE /api/repos/delete`."""
    kind, id = _named(hub, request, request.json())
    hub.find(request, kind, id, write=True)
    del hub.repos[kind, id]
    return json_answer({})


def settings(hub: Hub, request: Request, kind: str, id: str) -> Answer:
    """`PUT .../settings`: visibility, gated."""
    repo, asked = hub.find(request, kind, id, write=True), request.json()
    repo.visibility = asked.get("visibility", repo.visibility)
    repo.gated = bool(asked.get("gated", repo.gated))
    return json_answer({"visibility": repo.visibility, "gated": repo.gated})


def ref(hub: Hub, request: Request, kind: str, id: str, what: str, name: str) -> Answer:
    """`POST|DELETE .../branch/{name}`, `POST .../tag/{revision}`, `DELETE .../tag/{name}`."""
    repo, asked = hub.find(request, kind, id, write=True), request.json()
    start = f"refs/{'heads' if what == 'branch' else 'tags'}/"
    with hub.lock:
        if request.method == "DELETE":
            if repo.refs.pop(start + name, None) is None:
                raise Refusal(404, f"Invalid rev id: {name}", "RevisionNotFound")
            return json_answer({})
        new, source = (name, asked.get("startingPoint") or "main") if what == "branch" else (asked["tag"], name)
        if start + new in repo.refs:
            raise Refusal(409, f"Reference already exists: {start + new}")
        repo.refs[start + new] = hub.commit_of(repo, source).id
    return json_answer({})


def preupload(hub: Hub, request: Request, kind: str, id: str, rev: str) -> Answer:
    """`POST .../preupload/{rev}`: LFS or not, and what lies there now."""
    commit = hub.commit_of(_writable(hub, request, kind, id), rev)
    attributes = hub.bytes_at(commit, ".gitattributes")
    files = []
    for asked in request.json()["files"]:
        mode = "lfs" if is_lfs(asked["path"], asked["size"], attributes) else "regular"
        now = commit.files.get(asked["path"])
        files.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": False})
        if now:
            files[-1]["oid"] = now.key
    return json_answer({"files": files, "commitOid": commit.id})


def batch(hub: Hub, request: Request, kind: str, id: str) -> Answer:
    """`POST /{id}.git/info/lfs/objects/batch`: where to PUT what is not there yet."""
    asked = request.json()
    rev = asked.get("ref", {}).get("name", "main")
    hub.commit_of(_writable(hub, request, kind, id), rev)
    objects, transfer, used = [], "basic", hub.used()
    for wanted in asked["objects"]:
        oid, size = wanted["oid"], wanted["size"]
        told: dict[str, Any] = {"oid": oid, "size": size}
        objects.append(told)
        if hub.size_of(oid) is not None:
            continue
        used += size
        if hub.limits.quota is not None and used > hub.limits.quota:
            told["error"] = {"code": 422, "message": FULL}
            continue
        upload: dict[str, Any] = {"header": {}}
        if size > hub.limits.multipart_over:
            transfer = "multipart"
            urls = hub.blob_store.part_urls(oid, ceil(size / hub.limits.part_size))
            upload["header"] = {"chunk_size": str(hub.limits.part_size)} | {
                str(n): url for n, url in enumerate(urls, 1)
            }
            upload["href"] = f"{hub.url}/api/complete_multipart?oid={oid}"
        else:
            upload["href"] = hub.blob_store.upload_url(oid)
        told["actions"] = {"upload": upload, "verify": {"href": f"{hub.url}/{prefix(kind)}{id}.git/info/lfs/verify"}}
    return json_answer({"transfer": transfer, "objects": objects})


def complete(hub: Hub, request: Request) -> Answer:
    """`POST /api/complete_multipart`: the parts are there."""
    asked = request.json()
    hub.blob_store.complete(asked["oid"], [part["etag"] for part in asked["parts"]])
    return json_answer({})


def verify(hub: Hub, request: Request, kind: str, id: str) -> Answer:
    """`POST /{id}.git/info/lfs/verify`."""
    _writable(hub, request, kind, id)
    asked = request.json()
    if hub.size_of(asked["oid"]) != asked["size"]:
        raise Refusal(404, f"LFS object {asked['oid']} was not found.")
    return json_answer({})


def commit(hub: Hub, request: Request, kind: str, id: str, rev: str) -> Answer:
    """`POST .../commit/{rev}`: all of it or nothing."""
    repo = _writable(hub, request, kind, id)
    lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
    header = next(line["value"] for line in lines if line["key"] == "header")
    if not header.get("summary"):
        raise Refusal(400, "A commit needs a summary.")
    who = hub.known_user(request)
    with hub.lock:
        parent = hub.commit_of(repo, rev)
        if header.get("parentCommit", parent.id) != parent.id:
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        files = dict(parent.files)
        for line in lines:
            _apply(hub, files, line["key"], line["value"])
        on = repo.next_pull(parent) if _pull(request) else repo.ref(rev)
        if on is None or on.startswith("refs/tags/"):
            raise Refusal(400, f"{rev} is not a branch.")
        done = repo.add(on, files, header["summary"], header.get("description", ""), who.user)
    home = f"{hub.url}/{prefix(kind)}{id}"
    told = {"success": True, "commitOid": done.id, "commitUrl": f"{home}/commit/{done.id}", "hookOutput": ""}
    if _pull(request):
        told["pullRequestUrl"] = f"{home}/discussions/{on.rpartition('/')[2]}"
    return json_answer(told)


def _apply(hub: Hub, files: dict[str, File], key: str, value: dict[str, Any]) -> None:
    """Change the files of a commit by one line of it."""
    path = value.get("path", "")
    if key != "header" and (not path or path.startswith("/") or {"..", ".", ".git"} & {*path.split("/")}):
        raise Refusal(400, f"Invalid path in repo: {path!r}")
    if key == "file":
        data = base64.b64decode(value["content"]) if value.get("encoding") == "base64" else value["content"].encode()
        oid = blob_sha1(data)
        hub.regular[oid] = data
        files[path] = File(len(data), oid)
    elif key == "lfsFile":
        sha256, size = value["oid"], value["size"]
        known, xet = hub.size_of(sha256), hub.xet_hash(sha256)
        if known is None or known != size:
            raise Refusal(400, f"Your push was rejected: an LFS pointer points to a file that does not exist: {path}")
        if hub.limits.quota is not None and hub.used() > hub.limits.quota:
            raise Refusal(403, FULL)
        files[path] = File(size, blob_sha1(pointer(sha256, size)), sha256, xet)
    elif key in ("deletedFile", "deletedFolder"):
        inside = path.rstrip("/") + "/"
        gone = [name for name in files if name == path or (key == "deletedFolder" and name.startswith(inside))]
        if not gone:
            raise Refusal(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        for name in gone:
            del files[name]
    elif key != "header":
        raise Refusal(400, f"Unknown operation: {key}")


def prefix(kind: str) -> str:
    """What stands before the id in a URL."""
    return "" if kind == "model" else f"{kind}s/"


def _pull(request: Request) -> bool:
    return request.query.get("create_pr") in ("1", "true")


def _writable(hub: Hub, request: Request, kind: str, id: str) -> Repo:
    """The repository, which this user may change, or ask to change."""
    return hub.find(request, kind, id, write=True, owned=not _pull(request))


def _named(hub: Hub, request: Request, asked: dict[str, Any]) -> tuple[str, str]:
    """Kind and id of a repository in a namespace this user may write to."""
    who = hub.known_user(request)
    kind = asked.get("type") or "model"
    owner = asked.get("organization") or who.user
    if who.role != "write" or owner not in (who.user, *who.orgs):
        raise Refusal(403, f'You don\'t have the rights to create a {kind} under the namespace "{owner}"')
    return kind, f"{owner}/{asked['name']}"


ROUTES = (
    ("GET", r"/api/whoami-v2", whoami),
    ("POST", r"/api/validate-yaml", validate_yaml),
    ("POST", r"/api/repos/create", create),
    ("DELETE", r"/api/repos/delete", delete),
    ("POST", r"/api/complete_multipart", complete),
    ("PUT", r"/api/{kind}/{id}/settings", settings),
    ("POST|DELETE", r"/api/{kind}/{id}/(?P<what>branch|tag)/(?P<name>.+)", ref),
    ("POST", r"/api/{kind}/{id}/preupload/{rev}", preupload),
    ("POST", r"/api/{kind}/{id}/commit/{rev}", commit),
    ("POST", r"/{prefix}{id}\.git/info/lfs/objects/batch", batch),
    ("POST", r"/{prefix}{id}\.git/info/lfs/verify", verify),
)
