"""The calls that read a repository: info, tree, paths, refs, commits, files."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, quote

from .cards import model_facts
from .state import Hub
from .store import Commit, File, blob_sha1, pointer
from .wire import Answer, Refusal, Request, file_answer, json_answer


def info(hub: Hub, request: Request, kind: str, id: str, rev: str = "main") -> Answer:
    """`GET /api/models/{id}[/revision/{rev}]`."""
    repo = hub.find(request, kind, id)
    commit = hub.commit_of(repo, rev)
    history = repo.history(commit.id)
    blobs = "blobs" in request.query
    siblings = [{"rfilename": path, **(_blob_facts(file) if blobs else {})} for path, file in _sorted(commit)]
    body = {
        "_id": blob_sha1(f"{kind}/{id}".encode())[:24],
        "id": repo.id,
        "author": repo.owner,
        "sha": commit.id,
        "lastModified": commit.date,
        "createdAt": history[-1].date,
        "private": repo.visibility == "private",
        "gated": "manual" if repo.gated else False,
        "disabled": repo.disabled,
        "downloads": 0,
        "likes": 0,
        "siblings": siblings,
        **model_facts(*(hub.bytes_at(commit, path) for path in ("README.md", "config.json"))),
    }
    return json_answer({"tags": [], **body} | ({"modelId": repo.id} if kind == "model" else {}))


def tree(hub: Hub, request: Request, kind: str, id: str, rev: str, path: str = "") -> Answer:
    """`GET .../tree/{rev}[/{path}]`: files and directories, a page at a time."""
    repo = hub.find(request, kind, id)
    commit = hub.commit_of(repo, rev)
    start = f"{path}/" if path else ""
    inside = {name: file for name, file in commit.files.items() if name.startswith(start)}
    if path and not inside:
        raise missing_entry(commit, path)
    found: dict[str, dict[str, Any]] = {}
    for name, file in inside.items():
        parts = name.removeprefix(start).split("/")
        for depth in range(1, len(parts)):
            folder = start + "/".join(parts[:depth])
            found[folder] = {"type": "directory", "path": folder, "oid": blob_sha1(folder.encode()), "size": 0}
        found[name] = tree_entry(name, file)
    if request.query.get("recursive", "false").lower() not in ("true", "1"):
        found = {name: entry for name, entry in found.items() if "/" not in name.removeprefix(start)}
    entries = [found[name] for name in sorted(found)]
    first = int(request.query.get("cursor", 0))
    answer = json_answer(entries[first : first + hub.limits.page_size])
    if first + hub.limits.page_size < len(entries):
        others = "&".join(f"{key}={quote(value)}" for key, value in request.query.items() if key != "cursor")
        answer.headers["Link"] = f'<{hub.url}{request.path}?{others}&cursor={first + hub.limits.page_size}>; rel="next"'
    return answer


def paths_info(hub: Hub, request: Request, kind: str, id: str, rev: str) -> Answer:
    """`POST .../paths-info/{rev}`: what is known of some paths; unknown ones are left out."""
    commit = hub.commit_of(hub.find(request, kind, id), rev)
    if "json" in request.headers.get("Content-Type", ""):
        paths = request.json()["paths"]
    else:
        paths = parse_qs(request.body.decode()).get("paths", [])
    found = [tree_entry(path, commit.files[path]) for path in paths if path in commit.files]
    folders = [path for path in paths if any(name.startswith(f"{path}/") for name in commit.files)]
    return json_answer(
        found + [{"type": "directory", "path": path, "oid": blob_sha1(path.encode()), "size": 0} for path in folders]
    )


def refs(hub: Hub, request: Request, kind: str, id: str) -> Answer:
    """`GET .../refs`."""
    repo = hub.find(request, kind, id)

    def listed(prefix: str) -> list[dict[str, str]]:
        return [{"name": n, "ref": prefix + n, "targetCommit": commit} for n, commit in repo.named(prefix).items()]

    body = {"branches": listed("refs/heads/"), "converts": [], "tags": listed("refs/tags/")}
    if "include_prs" in request.query:
        pulls = repo.named("refs/pr/")
        body["pullRequests"] = [
            {"name": f"refs/pr/{n}", "ref": f"refs/pr/{n}", "targetCommit": commit} for n, commit in pulls.items()
        ]
    return json_answer(body)


def commits(hub: Hub, request: Request, kind: str, id: str, rev: str) -> Answer:
    """`GET .../commits/{rev}`: newest first."""
    repo = hub.find(request, kind, id)
    history = repo.history(hub.commit_of(repo, rev).id)
    return json_answer(
        [
            {"id": c.id, "title": c.title, "message": c.message, "date": c.date, "authors": [{"user": c.author}]}
            for c in history
        ]
    )


def resolve(hub: Hub, request: Request, kind: str, id: str, rev: str, path: str) -> Answer:
    """`HEAD|GET /{id}/resolve/{rev}/{path}`: a regular file itself, an LFS file as a way to the blob store."""
    repo = hub.find(request, kind, id)
    commit = hub.commit_of(repo, rev)
    if repo.gated and not hub.owns(request, repo):
        raise Refusal(403, f"Access to {kind} {id} is restricted and you are not in the authorized list.", "GatedRepo")
    if path not in commit.files:
        raise missing_entry(commit, path)
    file = commit.files[path]
    headers = {"X-Repo-Commit": commit.id}
    if not file.sha256:
        return file_answer(request, hub.regular[file.oid], headers | {"ETag": f'"{file.oid}"'})
    headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size), "ETag": f'"{file.oid}"'}
    if file.xet:
        route = f"{hub.url}/api/{kind}s/{id}/xet-read-token/{commit.id}"
        headers |= {"X-Xet-Hash": file.xet, "Link": f'<{route}>; rel="xet-auth"'}
    return Answer(302, b"", headers | {"Location": hub.download_url(file)})


def xet_token(hub: Hub, request: Request, kind: str, id: str, rev: str) -> Answer:
    """`GET .../xet-read-token/{rev}` and `xet-write-token`."""
    writes = "/xet-write-token/" in request.path
    repo = hub.find(request, kind, id, write=writes and "create_pr" not in request.query)
    hub.commit_of(repo, rev)
    if not hub.xet:
        raise Refusal(404, "Sorry, we can't find the page you are looking for.")
    return hub.xet.token()


def missing_entry(commit: Commit, path: str) -> Refusal:
    """404 EntryNotFound, which names the commit so that clients remember it."""
    refusal = Refusal(404, f"Entry not found: {path}", "EntryNotFound")
    refusal.answer.headers["X-Repo-Commit"] = commit.id
    return refusal


def tree_entry(path: str, file: File) -> dict[str, Any]:
    """A file as tree and paths-info tell of it."""
    entry: dict[str, Any] = {"type": "file", "path": path, "size": file.size, "oid": file.oid}
    if file.sha256:
        entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": len(pointer(file.sha256, file.size))}
    return entry | ({"xetHash": file.xet} if file.xet else {})


def _blob_facts(file: File) -> dict[str, Any]:
    facts: dict[str, Any] = {"size": file.size, "blobId": file.oid}
    if file.sha256:
        facts["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": len(pointer(file.sha256, file.size))}
    return facts


def _sorted(commit: Commit) -> list[tuple[str, File]]:
    return sorted(commit.files.items())


ROUTES = (
    ("GET", r"/api/{kind}/{id}/revision/{rev}", info),
    ("GET", r"/api/{kind}/{id}/tree/{rev}(?:/(?P<path>.+))?", tree),
    ("POST", r"/api/{kind}/{id}/paths-info/{rev}", paths_info),
    ("GET", r"/api/{kind}/{id}/refs", refs),
    ("GET", r"/api/{kind}/{id}/commits/{rev}", commits),
    ("GET", r"/api/{kind}/{id}/xet-(?:read|write)-token/{rev}", xet_token),
    ("GET", r"/api/{kind}/{id}", info),
    ("GET", r"/{prefix}{id}/resolve/{rev}/(?P<path>.+)", resolve),
)
