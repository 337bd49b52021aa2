"""The commands that talk to a hub, as a person calls them."""

from __future__ import annotations

import json
import stat
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.gguf_files import write_split
from tests.support.hub import Fault, running_hub
from tests.support.hub import Hub as FakeHub
from tests.support.hub_api import Access, HubUser
from tests.support.hub_use import TOKEN, Done, hub_env, run_here, run_luci
from tests.support.terminal import TerminalProgram

Run = Callable[..., Awaitable[Done]]
BIG = b"GGUF" + b"x" * 3000
ENTRY = """
[[model]]
name = "{name}"
repo = "org/{repo}"
files = ["m-Q4_K_M.gguf"]
size_bytes = {size}
size_is_exact = true
parameters_b = 1.0
n_ctx = 10
tier = 0
licence = "mit"
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return partial(run_here, monkeypatch, capsys)


def write_catalog(folder: Path, *entries: tuple[str, str, int], extra: str = "") -> None:
    """Write own entries: name, repository and size."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    text = "".join(ENTRY.format(name=name, repo=repo, size=size) for name, repo, size in entries)
    (home / "catalog.toml").write_text(text + extra)


# Search.


async def test_search_shows_repos_with_quant_types_and_sizes(tmp_path: Path) -> None:
    async with running_hub() as fake:
        files = {"m-Q4_K_M.gguf": BIG, "m-Q8_0.gguf": BIG * 2, "mmproj-F16.gguf": BIG}
        fake.add_repo("org/tiny-GGUF", files, downloads=7, gated="auto")
        fake.add_repo("org/tiny-empty", {"README.md": b""})
        done = await run_luci(hub_env(fake, tmp_path), "search", "tiny")
        lines = done.out.splitlines()
        assert (done.code, done.err) == (0, "")
        assert lines[0] == "hf:org/tiny-GGUF  7 downloads, mit, gated (auto), mmproj"
        assert [line.split() for line in lines[1:]] == [
            ["Q4_K_M", "2.93", "KiB", "m-Q4_K_M.gguf"],
            ["Q8_0", "5.87", "KiB", "m-Q8_0.gguf"],
        ]
        found = json.loads(
            (await run_luci(hub_env(fake, tmp_path), "search", "tiny", "--json")).out
        )
        assert [one["repo"] for one in found] == ["org/tiny-GGUF"]
        assert found[0]["models"][1]["files"][0]["size_bytes"] == 2 * len(BIG)


async def test_search_with_fits_leaves_out_what_is_larger_than_memory(
    tmp_path: Path, run: Run
) -> None:
    async with running_hub() as fake:
        repo = fake.add_repo("org/tiny-GGUF", {"m-Q4_K_M.gguf": BIG, "m-F16.gguf": BIG})
        lfs = {"oid": "a" * 64, "size": 1 << 48, "pointerSize": 1}
        repo.lies["m-F16.gguf"] = {"size": 1 << 48, "lfs": lfs}
        done = await run(hub_env(fake, tmp_path), "search", "tiny", "--fits")
        assert "m-Q4_K_M.gguf" in done.out
        assert "m-F16.gguf" not in done.out
        assert "1 model left out" in done.out


async def test_search_shows_nothing_that_a_terminal_would_obey(tmp_path: Path, run: Run) -> None:
    async with running_hub() as fake:
        fake.add_repo("org/tiny-GGUF", {"m.gguf": BIG}, licence="mit\x1b[2J")
        done = await run(hub_env(fake, tmp_path), "search", "tiny")
        assert "\x1b" not in done.out
        assert "mit[2J" in done.out


async def test_search_offline_or_without_a_hub_is_one_sentence(tmp_path: Path, run: Run) -> None:
    async with running_hub() as fake:
        done = await run(hub_env(fake, tmp_path, HF_HUB_OFFLINE="1"), "search", "x")
        assert (done.code, done.out) == (2, "")
        assert "HF_HUB_OFFLINE is set" in done.err
        fake.api_forever = Fault(status=400)
        done = await run(hub_env(fake, tmp_path), "search", "x")
        assert (done.code, len(done.err.splitlines())) == (2, 1)
    done = await run(hub_env(fake, tmp_path, HF_ENDPOINT="nonsense"), "search", "x")
    assert (done.code, "HF_ENDPOINT" in done.err) == (2, True)


async def test_search_goes_through_the_proxy_that_the_environment_names(tmp_path: Path) -> None:
    # A client of the library is made once in a process, so these are processes of their own.
    async with running_hub() as fake:
        env = hub_env(fake, tmp_path, HF_ENDPOINT="http://hub.invalid", NO_PROXY="", no_proxy="")
        done = await run_luci(
            {**env, "HTTP_PROXY": fake.url, "http_proxy": fake.url}, "search", "x"
        )
        assert done.code == 2
        assert fake.asked[0].path.startswith("http://hub.invalid/api/models?")
        proxies = dict.fromkeys(("ALL_PROXY", "all_proxy"), "socks5://me:pass-word@127.0.0.1:9")
        done = await run_luci({**env, **proxies}, "search", "x")
        assert (done.code, "proxy" in done.err) == (2, True)
        assert "pass-word" not in done.err
        assert len(done.err.splitlines()) == 1


# Login.


async def test_login_stores_the_token_where_the_hubs_library_looks(tmp_path: Path) -> None:
    async with running_hub() as fake:
        fake.api.users[TOKEN] = HubUser("ada", orgs=("makers",))
        env = hub_env(fake, tmp_path)
        done = await run_luci(env, "login", stdin=TOKEN + "\n")
        file = tmp_path / "hf" / "token"
        assert done.code == 0, done.err
        assert done.out == 'ada (user), token "my token", write, member of makers\n'
        assert file.read_text() == TOKEN
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert sorted(path.name for path in file.parent.iterdir()) == ["token"]
        who = await run_luci(env, "whoami")
        assert "ada" in who.out
        assert str(file) in who.err
        as_data = json.loads((await run_luci(env, "whoami", "--json")).out)
        assert (as_data["name"], as_data["endpoint"]) == ("ada", fake.url)
        gone = await run_luci(env, "logout")
        assert (gone.code, file.exists()) == (0, False)
        assert (await run_luci(env, "whoami")).code == 2
        for one in (done, who, gone):
            assert TOKEN not in one.out + one.err


def test_login_on_a_terminal_does_not_show_what_is_typed(tmp_path: Path) -> None:
    fake = FakeHub()
    fake.url = "http://127.0.0.1:9"
    with TerminalProgram(
        *("-m", "luci_tui", "login", "--no-check"), env=hub_env(fake, tmp_path)
    ) as program:
        program.wait_for("not shown")
        program.send(TOKEN + "\n")
        assert program.wait().exit_code == 0
    assert "127.0.0.1:9/settings/tokens" in program.text_since(0)
    assert TOKEN not in program.text_since(0)
    assert (tmp_path / "hf" / "token").read_text() == TOKEN


async def test_login_with_a_token_that_the_hub_does_not_know_stores_nothing(tmp_path: Path) -> None:
    async with running_hub() as fake:
        env = hub_env(fake, tmp_path)
        done = await run_luci(env, "login", stdin=TOKEN)
        assert (done.code, done.out) == (2, "")
        assert "does not know the token" in done.err
        assert TOKEN not in done.err
        assert not (tmp_path / "hf").exists()
        assert (await run_luci(env, "login", "--no-check", stdin=TOKEN)).code == 0
        assert (tmp_path / "hf" / "token").read_text() == TOKEN


@pytest.mark.parametrize("entered", ["", "short", "with a space in it", "hf_\x1b[2Jxxxxxxxxxx"])
async def test_login_with_what_is_no_token_is_refused_without_repeating_it(
    entered: str, tmp_path: Path
) -> None:
    async with running_hub() as fake:
        done = await run_luci(hub_env(fake, tmp_path), "login", stdin=entered)
        assert (done.code, done.out) == (2, "")
        assert "no token" in done.err
        assert not entered or entered not in done.err
        assert fake.asked == []


async def test_token_of_the_environment_wins_and_that_is_said(tmp_path: Path) -> None:
    other = TOKEN[::-1]
    async with running_hub() as fake:
        fake.api.users |= {TOKEN: HubUser("stored"), other: HubUser("environment")}
        env = hub_env(fake, tmp_path, HF_TOKEN=other)
        done = await run_luci(env, "login", stdin=TOKEN)
        assert "HF_TOKEN is set in the environment and is used instead" in done.err
        who = await run_luci(env, "whoami")
        assert who.out.startswith("environment")
        assert "HF_TOKEN in the environment" in who.err
        assert "HF_TOKEN is still set" in (await run_luci(env, "logout")).err


async def test_login_into_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    async with running_hub() as fake:
        (tmp_path / "hf").write_text("a file in its way")
        done = await run_luci(hub_env(fake, tmp_path), "login", "--no-check", stdin=TOKEN)
        assert (done.code, len(done.err.splitlines())) == (2, 1)
        assert "cannot be stored" in done.err


async def test_login_through_the_browser_is_renewed_when_it_is_used(tmp_path: Path) -> None:
    new = TOKEN[::-1]
    async with running_hub() as fake:
        fake.api.users[new] = HubUser("ada")
        fake.api.renewals["kept"] = new
        folder = tmp_path / "hf"
        folder.mkdir()
        (folder / "token").write_text(TOKEN)
        fields = f"hf_token = {TOKEN}\nrefresh_token = kept\nexpires_at = 1000\n"
        (folder / "stored_tokens").write_text(f"[oauth-ada]\n{fields}")
        done = await run_luci(hub_env(fake, tmp_path), "whoami")
        assert done.code == 0, done.err
        assert done.out.startswith("ada")
        assert (folder / "token").read_text() == new
        assert TOKEN not in done.out + done.err
        # One that cannot be renewed is said not to be known.
        (folder / "token").write_text(TOKEN)
        (folder / "stored_tokens").write_text(f"[oauth-ada]\n{fields}")
        done = await run_luci(hub_env(fake, tmp_path), "whoami")
        assert (done.code, len(done.err.splitlines())) == (2, 1)
        assert "does not know the token" in done.err


# The catalogue's check.


async def check(run: Run, fake: FakeHub, folder: Path, *names: str) -> tuple[int, str, str]:
    done = await run(hub_env(fake, folder), "catalog", "check", *names)
    return done.code, done.out, done.err


async def test_catalog_that_the_hub_fulfils_has_not_drifted(tmp_path: Path, run: Run) -> None:
    write_catalog(tmp_path, ("own-a", "a", len(BIG)), ("own-b", "a", len(BIG)))
    async with running_hub() as fake:
        fake.add_repo("org/a", {"m-Q4_K_M.gguf": BIG})
        code, out, err = await check(run, fake, tmp_path, "own-a", "own-b")
        assert (code, out) == (0, "")
        assert "2 models asked for, 0 drifted, 0 not compared" in err
        # Both share a repository, which is asked for once.
        assert len(fake.asked) == 2


async def test_catalog_check_reports_each_drift_and_exits_with_one(
    tmp_path: Path, run: Run
) -> None:
    names = ("gone", "moved", "gated", "grown", "lost", "fine")
    write_catalog(tmp_path, *((f"own-{name}", name, len(BIG)) for name in names))
    async with running_hub() as fake:
        for name in names[1:]:
            fake.add_repo(f"org/{name}", {"m-Q4_K_M.gguf": BIG})
        fake.api.repos["org/new"] = fake.api.repos.pop("org/moved")
        fake.api.repos["org/new"].name = "org/new"
        fake.api.renamed["org/moved"] = "org/new"
        fake.api.repos["org/gated"].gated = "manual"
        fake.api.repos["org/grown"].files["m-Q4_K_M.gguf"] = BIG + b"y"
        fake.api.repos["org/lost"].files.clear()
        fake.api_faults.append(Fault(status=429, retry_after="0"))
        code, out, err = await check(run, fake, tmp_path, *(f"own-{name}" for name in names))
        assert code == 1
        assert sorted(line.split()[0] + " " + line.split()[1] for line in out.splitlines()) == [
            "gated own-gated:",
            "missing own-gone:",
            "missing own-lost:",
            "renamed own-moved:",
            "size own-grown:",
        ]
        assert "6 models asked for, 5 drifted, 0 not compared" in err


async def test_catalog_check_that_could_not_ask_is_a_failure(tmp_path: Path, run: Run) -> None:
    write_catalog(tmp_path, ("own-a", "a", len(BIG)))
    async with running_hub() as fake:
        fake.api_forever = Fault(status=400)
        code, out, err = await check(run, fake, tmp_path, "own-a")
        assert code == 2
        assert out.startswith("unknown   own-a: ")
        assert "1 not compared" in err
        assert (await check(run, fake, tmp_path, "no-such-name"))[0] == 2


async def test_whole_catalogue_is_asked_for_without_names(tmp_path: Path, run: Run) -> None:
    async with running_hub() as fake:
        done = await run(hub_env(fake, tmp_path), "catalog", "check", "--json")
        checked = json.loads(done.out)
        assert done.code == 1
        assert len(checked) == 161
        assert {one["drifts"][0]["kind"] for one in checked} == {"missing"}


# Sharing.


async def test_share_shows_what_it_would_send_and_sends_nothing(tmp_path: Path, run: Run) -> None:
    model = write_arch_model(TinyArch.LLAMA, tmp_path / "mine-Q8_0.gguf")
    async with running_hub() as fake:
        arguments = ("share", str(model), "--repo", "ada/mine-GGUF", "--licence", "mit")
        done = await run(hub_env(fake, tmp_path), *arguments)
        assert done.code == 0
        for words in ("to ada/mine-GGUF", "everybody", "mine-Q8_0.gguf", 'license: "mit"'):
            assert words in done.out
        assert "Nothing was sent" in done.err
        assert fake.asked == []


async def test_share_sends_files_and_card_and_they_can_be_planned_again(
    tmp_path: Path, run: Run
) -> None:
    model = write_arch_model(TinyArch.LLAMA, tmp_path / "mine-Q8_0.gguf")
    async with running_hub() as fake:
        fake.api.users[TOKEN] = HubUser("ada")
        env = hub_env(fake, tmp_path, HF_TOKEN=TOKEN)
        arguments = ("share", str(model), "--repo", "ada/mine", "--private", "--yes")
        done = await run(env, *arguments, "--base-model", "org/base", "--notes", "For tests.")
        assert done.code == 0, done.err
        assert done.out.splitlines()[-1] == f"{fake.url}/ada/mine"
        repo = fake.api.repos["ada/mine"]
        assert repo.is_private
        assert repo.files["mine-Q8_0.gguf"] == model.read_bytes()
        card = repo.files["README.md"].decode()
        assert 'base_model: "org/base"' in card
        assert "For tests." in card
        # The token went to the hub alone, not to its storage.
        stored = [asked for asked in fake.asked if asked.origin == "other"]
        assert [asked.method for asked in stored] == ["PUT", "POST"]
        assert not any("authorization" in asked.headers for asked in stored)
        assert not any("xet" in asked.path or "telemetry" in asked.path for asked in fake.asked)
        assert TOKEN not in done.out + done.err
        # A card that is there stays.
        repo.files["README.md"] = b"---\n---\nby hand"
        again = await run(env, *arguments)
        assert (again.code, "stays" in again.err) == (0, True)
        assert repo.files["README.md"] == b"---\n---\nby hand"


async def test_share_sends_a_whole_set_with_the_card_beside_it(tmp_path: Path, run: Run) -> None:
    first = write_split(tmp_path, n_shards=3)
    first.with_suffix(".md").write_text("---\nlicense: mit\n---\n\n# By hand\n")
    async with running_hub() as fake:
        fake.api.users[TOKEN] = HubUser("ada")
        env = hub_env(fake, tmp_path, HF_TOKEN=TOKEN)
        done = await run(env, "share", str(first), "--repo", "ada/set", "--yes", "--json")
        assert done.code == 0, done.err
        shared = json.loads(done.out)
        repo = fake.api.repos["ada/set"]
        assert len(repo.files) == 4
        assert "# By hand" in repo.files["README.md"].decode()
        assert (shared["commit"], len(shared["files"])) == (repo.commit, 3)


async def test_share_that_cannot_be_is_one_sentence(tmp_path: Path, run: Run) -> None:
    model = str(write_arch_model(TinyArch.LLAMA, tmp_path / "mine.gguf"))
    (tmp_path / "text.gguf").write_text("no model")
    async with running_hub() as fake:
        fake.api.users[TOKEN] = HubUser("ada")
        open_repo = fake.add_repo("ada/open", {})
        open_repo.access[TOKEN] = Access.GRANTED
        env = hub_env(fake, tmp_path, HF_TOKEN=TOKEN)
        cases = [
            (("share", model, "--repo", "nonsense", "--yes"), "no repository"),
            (("share", "nothing", "--repo", "ada/x", "--yes"), "is installed"),
            (("share", str(tmp_path / "no.gguf"), "--repo", "ada/x", "--yes"), "no file"),
            (("share", str(tmp_path / "text.gguf"), "--repo", "ada/x", "--yes"), "GGUF"),
            (("share", model, "--repo", "bob/x", "--yes"), "does not allow"),
            (("share", model, "--repo", "ada/open", "--private", "--yes"), "Nothing was sent"),
        ]
        for arguments, says in cases:
            done = await run(env, *arguments)
            assert done.code == 2, arguments
            assert says in done.err
            assert len(done.err.splitlines()) == 1
        no_token = await run(hub_env(fake, tmp_path), "share", model, "--repo", "ada/x", "--yes")
        assert (no_token.code, "luci login" in no_token.err) == (2, True)
        assert open_repo.files == {}
