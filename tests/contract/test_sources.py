"""Plans from a hub over real HTTP."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from luci_tui.catalog.catalog import Catalog
from luci_tui.catalog.entries import CatalogEntry
from luci_tui.download.messages import Wanted
from luci_tui.download.plan import Plan, Role
from luci_tui.download.sources import HubSource, default_source
from luci_tui.errors import CatalogError, DownloadError, LuciError
from tests.support.downloads import fetch
from tests.support.hub import COMMIT, Fault, running_hub
from tests.support.hub import Hub as FakeHub
from tests.support.hub_api import Access, HubUser
from tests.support.hub_use import TOKEN, quick_hub

BIG = b"GGUF" + b"x" * 3000


def entry(**fields: Any) -> CatalogEntry:
    facts: dict[str, Any] = {
        "name": "small",
        "aliases": ("s",),
        "repo": "org/small-GGUF",
        "files": ("small-Q4_K_M.gguf",),
        "size_bytes": len(BIG),
        "parameters_b": 1,
        "n_ctx": 10,
        "tier": 0,
        "licence": "mit",
    }
    return CatalogEntry(**facts | fields)


def source_of(fake: FakeHub, folder: Path, *entries: CatalogEntry, token: str = "") -> HubSource:
    return HubSource(quick_hub(fake, folder, token=token), lambda: Catalog(entries))


async def refused(source: HubSource, wanted: str, **more: Any) -> LuciError:
    with pytest.raises(LuciError) as caught:
        await source.plan(wanted, **more)
    assert caught.value.message.isprintable()
    return caught.value


async def test_hub_file_then_pinned_address_size_and_sum(tmp_path: Path) -> None:
    async with running_hub() as fake:
        repo = fake.add_repo("org/m", {"sub dir/Tiny v1 (x)-Q8_0.gguf": BIG})
        wanted = "hf:org/m/sub dir/Tiny v1 (x)-Q8_0.gguf"
        plan = await source_of(fake, tmp_path).plan(wanted)
        (file,) = plan.files
        assert plan.name == "Tiny-v1-x-Q8_0"
        assert plan.source == wanted
        assert (plan.repo, plan.revision, plan.catalog_name) == ("org/m", repo.commit, "")
        assert (
            file.url == f"{fake.url}/org/m/resolve/{COMMIT}/sub%20dir/Tiny%20v1%20%28x%29-Q8_0.gguf"
        )
        assert (file.size_bytes, file.sha256) == (len(BIG), hashlib.sha256(BIG).hexdigest())
        # The address is one that bytes come from.
        moved = await fetch(Wanted(file.url, tmp_path / file.name, file.size_bytes, file.sha256))
        assert moved.sha256 == file.sha256


async def test_quant_type_revision_name_and_pages_of_the_hub(tmp_path: Path) -> None:
    async with running_hub() as fake:
        files = {"m-Q4_K_M.gguf": BIG, "m-Q5_K_M.gguf": BIG}
        fake.add_repo("org/m", files, revisions=["main", "refs/pr/1"])
        source = source_of(fake, tmp_path)
        assert (await source.plan("hf:org/m")).files[0].name == "m-Q4_K_M.gguf"
        plan = await source.plan("hf:org/m@refs%2Fpr%2F1:q5_k_m", name="mine")
        assert (plan.name, plan.files[0].name) == ("mine", "m-Q5_K_M.gguf")
        assert plan.source == "hf:org/m@refs%2Fpr%2F1/m-Q5_K_M.gguf"
        page = f"{fake.url}/org/m/blob/main/m-Q5_K_M.gguf"
        assert (await source.plan(page)).files[0].name == "m-Q5_K_M.gguf"
        # What a plan says it is from makes the same plan again.
        assert await source.plan(plan.source, name="mine") == plan


async def test_shards_and_projector_are_one_plan(tmp_path: Path) -> None:
    names = [f"m-Q4_K_M-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    async with running_hub() as fake:
        repo = fake.add_repo("org/m", dict.fromkeys([*names, "mmproj-F16.gguf"], BIG))
        source = source_of(fake, tmp_path)
        plan = await source.plan(f"hf:org/m/{names[1]}", with_mmproj=True)
        assert [file.name for file in plan.files] == [*names, "mmproj-F16.gguf"]
        assert [file.role for file in plan.files][2:] == [Role.MODEL, Role.MMPROJ]
        assert plan.name == "m-Q4_K_M"
        assert plan.size_bytes == 4 * len(BIG)
        assert len((await source.plan("hf:org/m")).files) == 3
        repo.files["mmproj-F32.gguf"] = BIG
        assert (await refused(source, "hf:org/m", with_mmproj=True)).code == "mmproj"
        del repo.files[names[2]]
        assert (await refused(source, "hf:org/m")).code == "incomplete_set"


async def test_catalogue_name_then_its_files_and_projector(tmp_path: Path) -> None:
    sha256 = hashlib.sha256(BIG).hexdigest()
    known = entry(mmproj="mmproj.gguf", sha256=sha256, size_is_exact=True)
    async with running_hub() as fake:
        fake.add_repo("org/small-GGUF", {"small-Q4_K_M.gguf": BIG, "mmproj.gguf": BIG})
        plan = await source_of(fake, tmp_path, known).plan("S")
        assert (plan.name, plan.source, plan.catalog_name) == ("small", "small", "small")
        assert [file.role for file in plan.files] == [Role.MODEL, Role.MMPROJ]
        assert (await refused(source_of(fake, tmp_path, known), "smal")).code == "unknown_model"


@pytest.mark.parametrize(
    ("fields", "code", "kind"),
    [
        ({"sha256": "a" * 64}, "pin", DownloadError),
        ({"size_bytes": 5, "size_is_exact": True}, "pin", DownloadError),
        ({"files": ("other.gguf",)}, "file_not_found", CatalogError),
        ({"mmproj": "other.gguf"}, "file_not_found", CatalogError),
        ({"repo": "org/none"}, "repo_not_found", DownloadError),
        ({"revision": "v9"}, "revision_not_found", DownloadError),
        ({"is_runnable": False}, "not_runnable", CatalogError),
    ],
    ids=str,
)
async def test_entry_that_the_hub_does_not_fulfil_is_refused(
    fields: dict[str, Any], code: str, kind: type[LuciError], tmp_path: Path
) -> None:
    async with running_hub() as fake:
        fake.add_repo("org/small-GGUF", {"small-Q4_K_M.gguf": BIG})
        error = await refused(source_of(fake, tmp_path, entry(**fields)), "small")
        assert (type(error), error.code) == (kind, code)


async def test_pin_of_the_catalogue_stands_where_the_hub_has_no_sum(tmp_path: Path) -> None:
    known = entry(sha256="b" * 64, size_bytes=5)
    async with running_hub() as fake:
        fake.add_repo("org/small-GGUF", {"small-Q4_K_M.gguf": b"small"})
        plan = await source_of(fake, tmp_path, known).plan("small")
        assert plan.files[0].sha256 == "b" * 64


async def test_hub_that_gives_another_commit_than_asked_is_not_believed(tmp_path: Path) -> None:
    async with running_hub() as fake:
        repo = fake.add_repo("org/m", {"m.gguf": BIG}, revisions=["main", "a" * 40])
        error = await refused(source_of(fake, tmp_path), f"hf:org/m@{'a' * 40}")
        assert error.code == "untrusted"
        assert (await source_of(fake, tmp_path).plan(f"hf:org/m@{repo.commit}")).revision == COMMIT


async def test_gated_repo_is_planned_only_for_those_who_get_it(tmp_path: Path) -> None:
    async with running_hub() as fake:
        repo = fake.add_repo("org/m", {"m.gguf": BIG}, gated="auto")
        fake.api.users[TOKEN] = HubUser()
        assert (await refused(source_of(fake, tmp_path), "hf:org/m")).code == "gated_no_token"
        source = source_of(fake, tmp_path, token=TOKEN)
        assert (await refused(source, "hf:org/m")).code == "gated_not_accepted"
        repo.access[TOKEN] = Access.GRANTED
        plan = await source.plan("hf:org/m")
        assert TOKEN not in plan.model_dump_json()


async def test_source_as_this_process_finds_it_knows_own_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path))
    alias = '[[model]]\nname = "smollm2-135m"\naliases = ["tiny"]\nrepo = "org/tiny"\n'
    (tmp_path / "catalog.toml").write_text(alias + 'files = ["t.gguf"]\n')
    async with running_hub() as fake:
        fake.add_repo("org/tiny", {"t.gguf": BIG})
        plan = await default_source(quick_hub(fake, tmp_path)).plan("tiny")
        assert (plan.name, plan.repo) == ("smollm2-135m", "org/tiny")


async def test_token_is_given_to_the_hubs_own_origin_alone(tmp_path: Path) -> None:
    async with running_hub() as fake:
        source = source_of(fake, tmp_path, token=TOKEN)
        own = {"Authorization": f"Bearer {TOKEN}"}
        assert source.headers(f"{fake.url}/org/m/resolve/main/m.gguf") == own
        for url in (
            fake.other_url + "/m.gguf",
            fake.url.replace("127.0.0.1", "localhost") + "/m.gguf",
            fake.url.replace("http:", "https:") + "/m.gguf",
            "https://huggingface.co/org/m/resolve/main/m.gguf",
            f"https://example.org/{fake.url}/m.gguf",
        ):
            assert source.headers(url) == {}
        assert source_of(fake, tmp_path).headers(fake.url + "/m.gguf") == {}


async def test_plain_address_then_its_file_or_its_whole_set(tmp_path: Path) -> None:
    async with running_hub() as fake:
        source = source_of(fake, tmp_path)
        plan = await source.plan("https://example.org/d/My%20model.gguf?v=1")
        (file,) = plan.files
        assert (plan.name, file.name) == ("My-model", "My model.gguf")
        assert (file.size_bytes, file.sha256, plan.repo) == (None, "", "")
        plan = await source.plan("https://example.org/m-00002-of-00002.gguf?v=1")
        assert plan.name == "m"
        assert [file.url for file in plan.files] == [
            "https://example.org/m-00001-of-00002.gguf?v=1",
            "https://example.org/m-00002-of-00002.gguf?v=1",
        ]
        assert fake.asked == []


@pytest.mark.parametrize(
    "name",
    ["-rf.gguf", ".hidden.gguf", "a;b.gguf", "a\u202eb.gguf", "model[1].gguf", "a" * 300 + ".gguf"],
)
async def test_hostile_file_name_is_refused(name: str, tmp_path: Path) -> None:
    async with running_hub() as fake:
        fake.add_repo("org/m", {name: BIG})
        error = await refused(source_of(fake, tmp_path), "hf:org/m")
        assert error.code in ("bad_name", "untrusted")
        error = await refused(source_of(fake, tmp_path), f"https://example.org/{name}")
        assert error.code == "bad_name"


async def test_name_that_cannot_be_installed_under_is_refused(tmp_path: Path) -> None:
    async with running_hub() as fake:
        fake.add_repo("org/m", {"m.gguf": BIG})
        for name in ("../x", "a/b", ".x", "a b", "x" * 101):
            assert (await refused(source_of(fake, tmp_path), "hf:org/m", name=name)).code == (
                "bad_name"
            )


async def test_hub_that_fails_is_one_sentence(tmp_path: Path) -> None:
    async with running_hub() as fake:
        fake.api_forever = Fault(status=503)
        assert (await refused(source_of(fake, tmp_path), "hf:org/m")).code == "hub_down"


async def test_plan_is_the_same_until_the_hub_has_something_else(tmp_path: Path) -> None:
    async with running_hub() as fake:
        fake.add_repo("org/m", {"m.gguf": BIG})
        source = source_of(fake, tmp_path)
        plans: list[Plan] = [await source.plan("hf:org/m") for _ in range(2)]
        fake.add_repo("org/m", {"m.gguf": BIG + b"y"}, commit="e" * 40)
        plans.append(await source.plan("hf:org/m"))
        assert plans[0].version == plans[1].version != plans[2].version
