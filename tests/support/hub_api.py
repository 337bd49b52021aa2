"""What the hub of `tests.support.hub` says about its repositories: its metadata API.

Answers have the form that huggingface_hub 2.4 reads; the words of refusals are those of the real
hub, because they alone tell a licence that is not accepted from a request that waits.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "c" * 40
LFS_FROM_BYTES = 1000
"""Smaller files are regular ones, which have no sha256 at the hub."""


class Access(StrEnum):
    """What a gated repository says to the owner of a token."""

    GRANTED = "granted"
    NOT_ACCEPTED = "not accepted"
    PENDING = "pending"
    REJECTED = "rejected"
    NO_SCOPE = "no scope"


@dataclass
class HubRepo:
    """One repository."""

    name: str
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    commit: str = COMMIT
    revisions: list[str] = field(default_factory=lambda: ["main"])
    """Names of `commit`."""
    gated: str = ""
    """ "auto" or "manual"; empty = open."""
    is_private: bool = False
    access: dict[str, Access] = field(default_factory=dict[str, Access])
    """By token."""
    licence: str = "mit"
    downloads: int = 0
    tags: list[str] = field(default_factory=lambda: ["gguf"])
    lies: dict[str, dict[str, object]] = field(default_factory=dict[str, dict[str, object]])
    """Fields of a file's entry in the tree that are not the true ones, by path."""
    info_lies: dict[str, object] = field(default_factory=dict[str, object])
    """Fields of the repository's own entry that are not the true ones."""

    def knows(self, revision: str) -> bool:
        """Tell whether a name or commit stands for its content."""
        return revision in (*self.revisions, self.commit)


@dataclass
class HubUser:
    """Who a token belongs to."""

    name: str = "someone"
    role: str = "write"
    orgs: tuple[str, ...] = ()


@dataclass(frozen=True)
class ApiReply:
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class ApiRequest:
    """One question."""

    method: str
    path: str
    """Without the query."""
    query: Mapping[str, list[str]]
    token: str
    body: bytes


class HubApi:
    """The repositories and users of a hub."""

    def __init__(self) -> None:
        self.repos: dict[str, HubRepo] = {}
        self.users: dict[str, HubUser] = {}
        """By token."""
        self.renewals: dict[str, str] = {}
        """Tokens to be had, by what a login through the browser has kept for that."""
        self.renamed: dict[str, str] = {}
        """Old names to new ones."""
        self.page_size = 1000
        self.uploads: dict[str, bytes] = {}
        """Large files by sha256, before a commit names them."""
        self.url = ""
        self.upload_url = ""
        self.on_commit: Callable[[HubRepo], None] = lambda _: None
        """Called when a repository has other files."""

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> ApiReply:
        """Answer a question about a repository or a user."""
        parts = urlsplit(target)
        token = headers.get("authorization", "").removeprefix("Bearer ")
        request = ApiRequest(method, unquote(parts.path), parse_qs(parts.query), token, body)
        if token and token not in self.users and not parts.path.startswith("/lfs/"):
            return refusal(401, "", "Invalid credentials in Authorization header")
        for prefix, handler in self._handlers().items():
            if request.path.startswith(prefix):
                return handler(request)
        if request.path.endswith(".git/info/lfs/objects/batch"):
            return self._lfs_batch(request)
        return refusal(404, "EntryNotFound", "Nothing there")

    def download_refusal(self, path: str, token: str) -> ApiReply | None:
        """Say why a file's bytes are not given out; None = they are."""
        name = "/".join(path.strip("/").split("/")[:2])
        repo = self.repos.get(name)
        return None if repo is None else self._refusal_of(repo, token)

    def _handlers(self) -> dict[str, Callable[[ApiRequest], ApiReply]]:
        return {
            "/api/whoami-v2": self._whoami,
            "/api/repos/create": self._create,
            "/api/validate-yaml": _validate_yaml,
            "/api/models/": self._model,
            "/api/models": self._list,
            "/lfs/": self._lfs_put,
            "/oauth/token": self._renew,
        }

    def _whoami(self, request: ApiRequest) -> ApiReply:
        user = self.users.get(request.token)
        if user is None:
            return refusal(401, "", "Invalid username or password.")
        token = {"displayName": "my token", "role": user.role, "createdAt": "2026-01-01"}
        orgs = [{"name": name} for name in user.orgs]
        facts = {"type": "user", "name": user.name, "orgs": orgs}
        return as_json({**facts, "auth": {"type": "access_token", "accessToken": token}})

    def _renew(self, request: ApiRequest) -> ApiReply:
        """Give a new token for one that lasts some hours."""
        asked = parse_qs(request.body.decode())["refresh_token"][0]
        token = self.renewals.pop(asked, "")
        if not token:
            return as_json({"error": "invalid_grant"}, status=400)
        return as_json({"access_token": token, "expires_in": 28_800, "refresh_token": "next"})

    def _list(self, request: ApiRequest) -> ApiReply:
        text = request.query.get("search", [""])[0].lower()
        limit = int(request.query.get("limit", ["1000"])[0])
        found = [
            repo
            for repo in self.repos.values()
            if text in repo.name.lower() and "gguf" in repo.tags and not repo.is_private
        ]
        found.sort(key=lambda repo: -repo.downloads)
        return as_json([_info(repo) for repo in found[:limit]])

    def _model(self, request: ApiRequest) -> ApiReply:
        owner, name, what, revision = _model_path(request.path)
        full = f"{owner}/{name}"
        if full in self.renamed:
            place = request.path.replace(full, self.renamed[full], 1)
            return ApiReply(307, headers={"Location": place})
        repo = self.repos.get(full)
        if repo is None or (repo.is_private and self._refusal_of(repo, request.token)):
            # The real hub does not tell strangers whether there is a private repository.
            status = 404 if request.token else 401
            return refusal(status, "RepoNotFound", "Repository not found")
        if what == "auth-check":
            return self._refusal_of(repo, request.token) or ApiReply(body=b"{}")
        if revision and not repo.knows(revision):
            return refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        match what:
            case "tree":
                return self._tree(repo, request)
            case "paths-info":
                wanted = json.loads(request.body)["paths"]
                entries = [entry_of(repo, path) for path in wanted if path in repo.files]
                return as_json(entries)
            case "preupload":
                return _preupload(request)
            case "commit":
                return self._commit(repo, request)
            case _:
                return as_json(_info(repo))

    def _tree(self, repo: HubRepo, request: ApiRequest) -> ApiReply:
        begin = int(request.query.get("cursor", ["0"])[0])
        folders = sorted({path.rpartition("/")[0] for path in repo.files} - {""})
        entries: list[object] = [{"type": "directory", "path": f, "oid": "d" * 40} for f in folders]
        entries += [entry_of(repo, path) for path in sorted(repo.files)]
        end = begin + self.page_size
        if end >= len(entries):
            return as_json(entries[begin:])
        link = f'<{self.url}{request.path}?recursive=true&cursor={end}>; rel="next"'
        return as_json(entries[begin:end], {"Link": link})

    def _refusal_of(self, repo: HubRepo, token: str) -> ApiReply | None:
        if not repo.gated and not repo.is_private:
            return None
        if token and token not in self.users:
            return refusal(401, "", "Invalid credentials in Authorization header")
        who = f"Access to model {repo.name} is restricted"
        if not token:
            text = f"{who}. You must have access to it and be authenticated to access it."
            return refusal(401, "GatedRepo", f"{text} Please log in.")
        match repo.access.get(token, Access.NOT_ACCEPTED):
            case Access.GRANTED:
                return None
            case Access.NOT_ACCEPTED:
                text = f"{who} and you are not in the authorized list. Visit {self.url} to ask."
            case Access.PENDING:
                text = f"Your request to access model {repo.name} is awaiting a review."
            case Access.REJECTED:
                text = f"Your request to access model {repo.name} has been rejected."
            case Access.NO_SCOPE:
                text = "Please enable access to public gated repositories in your fine-grained "
                return refusal(403, "", text + "token settings to view this repository.")
        return refusal(403, "GatedRepo", text)

    def _create(self, request: ApiRequest) -> ApiReply:
        user = self.users.get(request.token)
        asked = json.loads(request.body)
        if user is None or asked["organization"] not in (user.name, *user.orgs):
            return refusal(403, "", "You don't have the rights to create a model there")
        if user.role == "read":
            return refusal(403, "", "Your token has no write role")
        name = f"{asked['organization']}/{asked['name']}"
        place = {"url": f"{self.url}/{name}", "name": name, "id": name}
        if name in self.repos:
            return as_json(place, status=409)
        repo = HubRepo(name, is_private=asked.get("visibility") == "private")
        repo.access[request.token] = Access.GRANTED
        self.repos[name] = repo
        return as_json(place)

    def _lfs_batch(self, request: ApiRequest) -> ApiReply:
        objects: list[object] = []
        for one in json.loads(request.body)["objects"]:
            place = {"href": f"{self.upload_url}/lfs/{one['oid']}"}
            actions = {"actions": {"upload": place, "verify": place}}
            objects.append({**one, **({} if one["oid"] in self.uploads else actions)})
        return as_json({"transfer": "basic", "objects": objects})

    def _lfs_put(self, request: ApiRequest) -> ApiReply:
        oid = request.path.removeprefix("/lfs/")
        if request.method == "POST":
            return ApiReply() if oid in self.uploads else refusal(404, "", "It did not arrive")
        if hashlib.sha256(request.body).hexdigest() != oid:
            return refusal(400, "", "The content has another sha256")
        self.uploads[oid] = request.body
        return ApiReply()

    def _commit(self, repo: HubRepo, request: ApiRequest) -> ApiReply:
        for line in request.body.splitlines():
            part: dict[str, Any] = json.loads(line)
            value = part["value"]
            match part["key"]:
                case "file":
                    repo.files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    repo.files[value["path"]] = self.uploads[value["oid"]]
                case _:
                    pass
        repo.commit = hashlib.sha1(request.body, usedforsecurity=False).hexdigest()
        self.on_commit(repo)
        place = f"{self.url}/{repo.name}/commit/{repo.commit}"
        return as_json({"success": True, "commitOid": repo.commit, "commitUrl": place})


def as_json(
    value: object, headers: Mapping[str, str] | None = None, *, status: int = 200
) -> ApiReply:
    """Make an answer of plain data."""
    kind = {"Content-Type": "application/json"}
    return ApiReply(status, json.dumps(value).encode(), kind | dict(headers or {}))


def refusal(status: int, code: str, message: str) -> ApiReply:
    """Make a refusal as the hub does: code and words in headers and body."""
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return as_json({"error": message}, headers, status=status)


def entry_of(repo: HubRepo, path: str) -> dict[str, object]:
    """Describe one file of a tree."""
    content = repo.files[path]
    entry: dict[str, object] = {"type": "file", "path": path, "size": len(content)}
    entry["oid"] = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    if len(content) >= LFS_FROM_BYTES:
        sha256 = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 134}
    return entry | repo.lies.get(path, {})


def _info(repo: HubRepo) -> dict[str, object]:
    facts: dict[str, object] = {
        "id": repo.name,
        "modelId": repo.name,
        "sha": repo.commit,
        "gated": repo.gated or False,
        "private": repo.is_private,
        "downloads": repo.downloads,
        "likes": 1,
        "tags": [*repo.tags, f"license:{repo.licence}"],
        "cardData": {"license": repo.licence},
        "siblings": [{"rfilename": path} for path in sorted(repo.files)],
        "lastModified": "2026-10-01T00:00:00.000Z",
    }
    return facts | repo.info_lies


def _model_path(path: str) -> tuple[str, str, str, str]:
    """Split /api/models/OWNER/NAME[/WHAT[/REVISION]]."""
    parts = path.removeprefix("/api/models/").split("/", 3)
    owner, name, what, revision = (*parts, "", "", "", "")[:4]
    return owner, name, what, revision


def _preupload(request: ApiRequest) -> ApiReply:
    files = [
        {
            "path": one["path"],
            "uploadMode": "lfs" if one["size"] >= LFS_FROM_BYTES else "regular",
            "shouldIgnore": False,
        }
        for one in json.loads(request.body)["files"]
    ]
    return as_json({"files": files})


def _validate_yaml(request: ApiRequest) -> ApiReply:
    content: str = json.loads(request.body)["content"]
    if not content.startswith("---\n"):
        return as_json({"errors": [{"message": "no front matter"}], "warnings": []}, status=400)
    return as_json({"errors": [], "warnings": []})
