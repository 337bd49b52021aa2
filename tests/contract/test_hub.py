"""The client of the hub against a hub over real HTTP: what it says, and what it does wrong."""

from __future__ import annotations

import asyncio
import logging
import ssl
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme

from luci_tui.download.hub import Hub
from luci_tui.errors import CatalogError, ConfigError, DownloadError, LuciError
from tests.support.hub import COMMIT, Fault, running_hub
from tests.support.hub import Hub as FakeHub
from tests.support.hub_api import Access, HubUser
from tests.support.hub_use import TOKEN, quick_hub

BIG = b"GGUF" + b"x" * 2000


async def failing(hub: Hub, repo: str = "org/repo", revision: str = "main") -> LuciError:
    with pytest.raises(LuciError) as caught:
        await hub.repo(repo, revision)
    message = caught.value.message
    assert message.isprintable()
    assert TOKEN not in f"{message}{caught.value!r}{caught.value.__cause__!r}"
    return caught.value


async def test_repo_then_commit_files_sizes_and_sums(tmp_path: Path) -> None:
    async with running_hub() as fake:
        file = fake.add(BIG)
        fake.add(b"small", name="sub/README.md")
        facts = await quick_hub(fake, tmp_path).repo("org/repo")
    assert (facts.repo, facts.commit, facts.licence) == ("org/repo", COMMIT, "mit")
    readme, model = facts.files[1], facts.files[0]
    assert (model.path, model.size_bytes, model.sha256) == ("model.gguf", len(BIG), file.sha256)
    assert (readme.path, readme.size_bytes, readme.sha256) == ("sub/README.md", 5, "")


async def test_repo_then_two_questions_and_nothing_else_is_asked(tmp_path: Path) -> None:
    async with running_hub() as fake:
        fake.add(BIG)
        await quick_hub(fake, tmp_path, token="").repo("org/repo")
        paths = [asked.path.partition("?")[0] for asked in fake.asked]
        assert paths == [
            "/api/models/org/repo/revision/main",
            f"/api/models/org/repo/tree/{COMMIT}",
        ]
        agent = fake.asked[0].headers["user-agent"]
        assert "torch" not in agent
        assert "agent/" not in agent


async def test_long_tree_is_read_page_by_page(tmp_path: Path) -> None:
    async with running_hub() as fake:
        fake.add_repo("org/big", {f"model-{n:03}.gguf": b"x" for n in range(25)})
        fake.api.page_size = 10
        facts = await quick_hub(fake, tmp_path).repo("org/big")
        assert len(facts.files) == 25
        assert len(fake.asked) == 4


async def test_renamed_repo_is_followed_and_has_its_new_name(tmp_path: Path) -> None:
    async with running_hub() as fake:
        fake.add(BIG)
        fake.api.renamed["org/old"] = "org/repo"
        facts = await quick_hub(fake, tmp_path).repo("org/old")
    assert facts.repo == "org/repo"
    assert len(facts.files) == 1


async def test_search_finds_gguf_repos_by_downloads(tmp_path: Path) -> None:
    async with running_hub() as fake:
        fake.add_repo("a/tiny-GGUF", {"m.gguf": BIG}, downloads=5)
        fake.add_repo("b/Tiny-GGUF", {"m.gguf": BIG}, downloads=50, gated="manual")
        fake.add_repo("c/tiny", {"m.safetensors": BIG}, tags=[])
        found = await quick_hub(fake, tmp_path).search("tiny", 10)
        assert [(one.repo, one.downloads, one.gated) for one in found] == [
            ("b/Tiny-GGUF", 50, "manual"),
            ("a/tiny-GGUF", 5, ""),
        ]
        assert len(await quick_hub(fake, tmp_path).search("tiny", 1)) == 1


async def test_account_then_the_tokens_owner(tmp_path: Path) -> None:
    async with running_hub() as fake:
        fake.api.users[TOKEN] = HubUser("ada\x1b[2J", "read", ("org",))
        account = await quick_hub(fake, tmp_path, token=TOKEN).account()
        assert (account.name, account.role, account.organisations) == ("ada[2J", "read", ("org",))
        with pytest.raises(DownloadError, match="no token") as caught:
            await quick_hub(fake, tmp_path).account()
        assert caught.value.code == "no_token"


@dataclass(frozen=True)
class Gate:
    """How a gated repository is asked for, and what is said."""

    access: Access | None
    code: str
    says: str


GATES = [
    Gate(None, "gated_no_token", "luci login"),
    Gate(Access.NO_SCOPE, "gated_no_scope", "/settings/tokens"),
    Gate(Access.NOT_ACCEPTED, "gated_not_accepted", "accept it"),
    Gate(Access.PENDING, "gated_pending", "approval"),
    Gate(Access.REJECTED, "gated_rejected", "rejected"),
]


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.code)
async def test_gated_repo_says_which_thing_is_wrong_and_its_page(
    gate: Gate, tmp_path: Path
) -> None:
    async with running_hub() as fake:
        repo = fake.add_repo("org/gated", {"m.gguf": BIG}, gated="manual")
        fake.api.users[TOKEN] = HubUser()
        if gate.access is not None:
            repo.access[TOKEN] = gate.access
        hub = quick_hub(fake, tmp_path, token=TOKEN if gate.access else "")
        with pytest.raises(DownloadError) as caught:
            await hub.check_access("org/gated")
        assert caught.value.code == gate.code
        assert gate.says in caught.value.message
        assert f"{fake.url}/org/gated" in caught.value.message
        repo.access[TOKEN] = Access.GRANTED
        await quick_hub(fake, tmp_path, token=TOKEN).check_access("org/gated")


@dataclass(frozen=True)
class Case:
    """What the hub does, and how it ends."""

    name: str
    faults: tuple[Fault, ...]
    code: str = ""
    """Empty = it is got over."""
    n_asked: int = 0
    """0 = any number."""
    forever: bool = False
    says: str = ""


FAULTS = [
    Case("503 once", (Fault(status=503),), n_asked=3),
    Case("dropped once", (Fault(drop_before_head=True),), n_asked=3),
    Case("429 with Retry-After", (Fault(status=429, retry_after="0"),), n_asked=3),
    Case("429 for ever", (Fault(status=429, retry_after="0"),), "rate_limited", 3, forever=True),
    Case("429 for an hour", (Fault(status=429, retry_after="3600"),), "rate_limited", 1),
    Case("500 for ever", (Fault(status=500),), "hub_down", 3, forever=True, says="500"),
    Case("dropped for ever", (Fault(drop_before_head=True),), "network", 3, forever=True),
    Case("rubbish for ever", (Fault(garbage=b"\x00\xff\r\n\r\n"),), "network", forever=True),
    Case("401", (Fault(status=401),), "unauthorized", 1, says="luci login"),
    Case("403", (Fault(status=403, error_message="no"),), "forbidden", 1, says="(no)"),
    Case("403 gated", (Fault(status=403, error_code="GatedRepo"),), "gated_no_token", 1),
    Case("404 repo", (Fault(status=404, error_code="RepoNotFound"),), "repo_not_found", 1),
    Case("404 revision", (Fault(status=404, error_code="RevisionNotFound"),), "revision_not_found"),
    Case("404 entry", (Fault(status=404, error_code="EntryNotFound"),), "not_found", 1),
    Case("404", (Fault(status=404),), "not_found", 1),
    Case("418", (Fault(status=418),), "refused", 1),
    Case("451", (Fault(status=451),), "disabled", 1),
    Case(
        "disabled",
        (Fault(status=403, error_message="Access to this resource is disabled."),),
        "disabled",
    ),
    Case("redirect elsewhere", (Fault(location="http://127.0.0.1:9/x"),), "redirect", 1),
    Case(
        "words that would clear the terminal",
        (Fault(status=403, error_message="a\x9b2Jb\x07"),),
        "forbidden",
        says="(a2Jb)",
    ),
]


@pytest.mark.parametrize("case", FAULTS, ids=lambda case: case.name)
async def test_fault_is_got_over_or_ends_in_one_sentence(case: Case, tmp_path: Path) -> None:
    async with running_hub() as fake:
        fake.add(BIG)
        fake.api_faults.extend(case.faults)
        fake.api_forever = case.faults[-1] if case.forever else None
        hub = quick_hub(fake, tmp_path)
        if case.code:
            error = await failing(hub)
            assert error.code == case.code, error.message
            assert case.says in error.message
        else:
            assert (await hub.repo("org/repo")).files
        if case.n_asked:
            assert len(fake.asked) == case.n_asked


async def test_silent_hub_is_given_up(tmp_path: Path) -> None:
    async with running_hub() as fake:
        fake.api_forever = Fault(stall_after=0)
        hub = quick_hub(fake, tmp_path, timeout_s=0.3, max_attempts=1)
        assert (await failing(hub)).code in ("network", "timeout")


async def test_nobody_listens_then_one_sentence(tmp_path: Path) -> None:
    async with running_hub() as fake:
        hub = quick_hub(fake, tmp_path)
    error = await failing(hub)
    assert error.code == "network"
    assert "HF_ENDPOINT" in error.message


async def test_unknown_repo_and_revision_are_named(tmp_path: Path) -> None:
    async with running_hub() as fake:
        fake.add(BIG)
        fake.add_repo("org/private", {"m.gguf": BIG}, is_private=True)
        fake.api.users[TOKEN] = HubUser()
        for token in ("", TOKEN):
            hub = quick_hub(fake, tmp_path, token=token)
            assert (await failing(hub, "org/nothing")).code == "repo_not_found"
            assert (await failing(hub, "org/private")).code == "repo_not_found"
            error = await failing(hub, "org/repo", "v9")
            assert (error.code, "'v9'" in error.message) == ("revision_not_found", True)


async def test_token_that_the_hub_does_not_know_is_said_with_its_place(tmp_path: Path) -> None:
    async with running_hub() as fake:
        fake.add(BIG)
        error = await failing(quick_hub(fake, tmp_path, token=TOKEN))
        assert error.code == "unauthorized"
        assert "HF_TOKEN" in error.message


LIES: list[dict[str, object]] = [
    {"path": "../../etc/passwd"},
    {"path": "/etc/passwd"},
    {"path": "a//b.gguf"},
    {"path": "a\x1b[2J.gguf"},
    {"path": ""},
    {"path": 7},
    {"size": -1},
    {"size": "many"},
    {"size": 1 << 62},
    {"size": True},
    {"lfs": {"oid": "../../x", "size": len(BIG), "pointerSize": 1}},
    {"lfs": {"oid": "A" * 64, "size": len(BIG), "pointerSize": 1}},
    {"lfs": {"oid": "a" * 64, "size": 5, "pointerSize": 1}},
    {"lfs": {"oid": None, "size": len(BIG), "pointerSize": 1}},
    {"lfs": []},
    {"lfs": "text"},
    {"path": "other.gguf"},
]


@pytest.mark.parametrize("lie", LIES, ids=str)
async def test_file_that_cannot_be_is_refused(lie: dict[str, object], tmp_path: Path) -> None:
    async with running_hub() as fake:
        fake.add(BIG)
        fake.add(BIG, name="other.gguf")
        fake.api.repos["org/repo"].lies["model.gguf"] = lie
        error = await failing(quick_hub(fake, tmp_path))
        assert (type(error), error.code) == (DownloadError, "untrusted")


@pytest.mark.parametrize(
    "lie",
    [
        {"sha": "../../../x"},
        {"sha": None},
        {"sha": "C" * 40},
        {"sha": ["c" * 40]},
        {"id": "../../x"},
        {"id": "a/b/c"},
        {"id": 5},
        {"tags": 5},
    ],
    ids=str,
)
async def test_repo_that_cannot_be_is_refused(lie: dict[str, object], tmp_path: Path) -> None:
    async with running_hub() as fake:
        fake.add(BIG)
        fake.api.repos["org/repo"].info_lies.update(lie)
        error = await failing(quick_hub(fake, tmp_path))
        assert (type(error), error.code) == (DownloadError, "untrusted")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Encoding": "gzip"},
        {"Link": '<http://127.0.0.1:9/more>; rel="next"'},
    ],
    ids=str,
)
async def test_answer_with_a_hostile_header_is_refused(
    headers: dict[str, str], tmp_path: Path
) -> None:
    async with running_hub() as fake:
        fake.add(BIG)
        fake.api_faults.extend([Fault(), Fault(headers=tuple(headers.items()))])
        error = await failing(quick_hub(fake, tmp_path))
        assert error.code in ("untrusted", "redirect")
        assert len(fake.asked) == 2


async def test_pages_without_end_are_given_up(tmp_path: Path) -> None:
    async with running_hub() as fake:
        fake.add(BIG)
        again = f'<{fake.url}/api/models/org/repo/tree/{COMMIT}>; rel="next"'
        fake.api_forever = Fault(headers=(("Link", again),))
        hub = quick_hub(fake, tmp_path, timeout_s=0.5)
        assert (await failing(hub)).code in ("timeout", "untrusted")


@pytest.mark.parametrize(
    ("repo", "revision"),
    [
        ("../etc", "main"),
        ("org", "main"),
        ("org/a/b", "main"),
        ("org/re--po", "main"),
        ("org/..", "main"),
        ("org/repo?x=1", "main"),
        ("org/repo\n", "main"),
        ("org/repo", "../main"),
        ("org/repo", ""),
        ("org/repo", "a b"),
        ("org/repo", "a\x00"),
    ],
)
async def test_name_that_cannot_be_is_not_asked_for(
    repo: str, revision: str, tmp_path: Path
) -> None:
    async with running_hub() as fake:
        error = await failing(quick_hub(fake, tmp_path), repo, revision)
        assert (type(error), error.code) == (CatalogError, "bad_name")
        assert fake.asked == []


async def test_offline_then_nothing_is_asked(tmp_path: Path) -> None:
    async with running_hub() as fake:
        hub = quick_hub(fake, tmp_path)
        hub.environment = replace(hub.environment, is_offline=True)
        error = await failing(hub)
        assert (error.code, "HF_HUB_OFFLINE" in error.message) == ("offline", True)
        assert fake.asked == []


@pytest.mark.parametrize(
    "endpoint", ["ftp://hub", "hub.example.org", "https://", "https://me:secret@hub", "https://h:x"]
)
def test_endpoint_that_is_none_is_refused(endpoint: str, tmp_path: Path) -> None:
    environment = replace(quick_hub(FakeHubAt("http://x"), tmp_path).environment, endpoint=endpoint)
    with pytest.raises(ConfigError, match="HF_ENDPOINT") as caught:
        Hub(environment)
    assert "secret" not in caught.value.message


class FakeHubAt(FakeHub):
    """A hub that does not run."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url


async def test_token_is_in_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with running_hub() as fake:
        fake.add(BIG)
        fake.api.users[TOKEN] = HubUser()
        hub = quick_hub(fake, tmp_path, token=TOKEN)
        await hub.repo("org/repo")
        assert fake.asked[0].headers["authorization"] == f"Bearer {TOKEN}"
        assert TOKEN not in caplog.text
        assert TOKEN not in f"{hub.token()!r}{hub.environment!r}"


async def test_company_certificate_is_trusted_when_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    bundle = tmp_path / "company.pem"
    authority.cert_pem.write_to_path(str(bundle))
    script = (
        "import asyncio; from luci_tui.download.hub import Hub; "
        "print(asyncio.run(Hub().info('org/repo')).commit)"
    )
    async with running_hub(context) as fake:
        fake.add(BIG)
        hub = quick_hub(fake, tmp_path)
        assert (await failing(hub)).code == "certificate"
        monkeypatch.setenv("HF_ENDPOINT", fake.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
        # The library makes its client once in a process.
        done = await in_process(script)
        assert done.strip() == COMMIT


async def in_process(script: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return out.decode()


def test_library_of_the_hub_is_not_imported_before_a_question() -> None:
    script = (
        "import sys, luci_tui.cli.main, luci_tui.cli.share, luci_tui.library.share; "
        "import luci_tui.download.sources, luci_tui.download.hub_search; "
        "sys.exit(sum(name in sys.modules for name in ('huggingface_hub', 'httpx2')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0
