"""Which files of a repository make one model."""

from __future__ import annotations

import pytest

from luci_tui.download.hub_facts import RepoFile
from luci_tui.download.repo_files import choose, models_in, projectors_in, quant_of, shard_names
from luci_tui.errors import CatalogError, DownloadError, LuciError


def repo_of(*paths: str) -> list[RepoFile]:
    return [RepoFile(path, 10 * (n + 1)) for n, path in enumerate(paths)]


def shards(stem: str, n_shards: int, *without: int) -> list[str]:
    numbers = [number for number in range(1, n_shards + 1) if number not in without]
    return [f"{stem}-{number:05}-of-{n_shards:05}.gguf" for number in numbers]


@pytest.mark.parametrize(
    ("path", "quant"),
    [
        ("SmolLM2-135M-Instruct-Q4_K_M.gguf", "Q4_K_M"),
        ("smollm2-360m-instruct-q8_0.gguf", "Q8_0"),
        ("phi-2.Q4_K_M.gguf", "Q4_K_M"),
        ("m-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("m-IQ2_XXS.gguf", "IQ2_XXS"),
        ("m-IQ4_NL.gguf", "IQ4_NL"),
        ("m.Q6_K.gguf", "Q6_K"),
        ("m-Q6_K_L.gguf", "Q6_K_L"),
        ("m-Q3_K.gguf", "Q3_K"),
        ("m-TQ2_0.gguf", "TQ2_0"),
        ("gpt-oss-20b-MXFP4.gguf", "MXFP4"),
        ("m-bf16.gguf", "BF16"),
        ("m-f16-00001-of-00002.gguf", "F16"),
        ("Q5_K_M/m-00001-of-00002.gguf", "Q5_K_M"),
        ("Phi-3-mini-4k-instruct-q4.gguf", "Q4"),
        ("m-IQ3_XS.gguf", "IQ3_XS"),
        ("m-Q4_0_4_4.gguf", "Q4_0"),
        ("m-i1-Q4_K_S.gguf", "Q4_K_S"),
        ("m.gguf", ""),
        ("q2-game-model.gguf", ""),
        ("Qwen3-4B.gguf", ""),
    ],
)
def test_quant_type_of_a_file_name(path: str, quant: str) -> None:
    assert quant_of(path) == quant


def test_models_leave_projectors_and_the_like_out() -> None:
    paths = ("m-Q4_K_M.gguf", "mmproj-F16.gguf", "m.imatrix.gguf", "mtp-m-Q4_K_M.gguf", "a.md")
    files = repo_of(*paths)
    assert [one.path for one in models_in(files)] == ["m-Q4_K_M.gguf"]
    assert [one.path for one in projectors_in(files)] == ["mmproj-F16.gguf"]


def test_shards_are_one_model_and_one_with_a_gap_is_not_given() -> None:
    files = repo_of(*shards("a-Q4_K_M", 3), *shards("b-Q8_0", 3, 2))
    whole, broken = models_in(files)
    assert [file.path for file in whole.files] == shards("a-Q4_K_M", 3)
    assert (whole.size_bytes, whole.missing) == (60, ())
    assert broken.missing == ("b-Q8_0-00002-of-00003.gguf",)
    with pytest.raises(DownloadError, match="b-Q8_0-00002-of-00003") as caught:
        choose(files, "o/r", quant="Q8_0")
    assert caught.value.code == "incomplete_set"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_any_shard_stands_for_its_set(number: int) -> None:
    paths = shards("d/a", 3)
    assert [one.path for one in choose(repo_of(*paths), "o/r", path=paths[number - 1]).files] == (
        paths
    )


def test_shards_of_other_sets_are_no_part_of_it() -> None:
    files = repo_of(*shards("a", 2), *shards("a", 3, 1), *shards("sub/a", 2))
    assert [one.path for one in choose(files, "o/r", path=shards("a", 2)[0]).files] == shards(
        "a", 2
    )


@pytest.mark.parametrize("path", ["a-00000-of-00003.gguf", "a-00004-of-00003.gguf"])
def test_shard_with_an_impossible_number_is_refused(path: str) -> None:
    with pytest.raises(CatalogError, match="makes no set"):
        shard_names(path)
    with pytest.raises(CatalogError, match="makes no set"):
        shard_names("a-00001-of-99999.gguf")


def test_only_model_is_taken_and_of_several_the_usual_one() -> None:
    assert choose(repo_of("m.gguf", "README.md"), "o/r").path == "m.gguf"
    files = repo_of("m-Q2_K.gguf", "m-Q4_K_M.gguf", "m-Q4_K_S.gguf")
    assert choose(files, "o/r").quant == "Q4_K_M"
    assert choose(files, "o/r", quant="q2_k").path == "m-Q2_K.gguf"


@pytest.mark.parametrize(
    ("paths", "quant", "says"),
    [
        (("m-Q2_K.gguf", "m-Q8_0.gguf"), "", "Q2_K, Q8_0"),
        (("m-Q6_K_L.gguf", "m-Q8_0.gguf"), "Q6_K", "Q6_K_L, Q8_0"),
        (("a-Q4_K_M.gguf", "b-Q4_K_M.gguf"), "", "a-Q4_K_M.gguf, b-Q4_K_M.gguf"),
        (("a.gguf", "b.gguf"), "", "a.gguf, b.gguf"),
        (("README.md",), "", "no GGUF model"),
    ],
)
def test_choice_that_is_not_clear_lists_what_there_is(
    paths: tuple[str, ...], quant: str, says: str
) -> None:
    with pytest.raises(LuciError) as caught:
        choose(repo_of(*paths), "o/r", quant=quant)
    assert says in caught.value.message


def test_file_that_is_not_there_is_named_with_what_is() -> None:
    with pytest.raises(CatalogError, match=r"Did you mean m-Q8_0\.gguf"):
        choose(repo_of("m-Q8_0.gguf"), "o/r", path="M-q8_0.gguf")
    with pytest.raises(CatalogError, match="It has Q8_0") as caught:
        choose(repo_of("m-Q8_0.gguf"), "o/r", path="x.gguf")
    assert caught.value.code == "file_not_found"
