from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from luci_tui.engine.frames import SamplingParams
from luci_tui.engine.load_spec import LoraSpec
from luci_tui.errors import CatalogError, ConfigError
from luci_tui.manager.entries import BUILTIN, Endpoint, LoadOptions, ModelEntry
from luci_tui.manager.registry import Registry

EXAMPLE = """\
# My models.

[[model]]
name = "coder"
aliases = ["qwen", "qwen2.5:7b"]
path = "models/coder.gguf"
fallbacks = ["cloud"]
pinned = true
ttl_s = 600
[model.load]
n_ctx = 8192
n_slots = 4
kv_type_k = "q8_0"
[model.sampling]
temperature = 0.2

# Answers when the machine is full.
[[model]]
name = "cloud"
endpoints = [
    { base_url = "https://example.org/v1/", model = "big", api_key_env = "EXAMPLE_KEY" },
    { base_url = "http://127.0.0.1:8000/v1", model = "big", dialect = "vllm" },
]
load = { n_ctx = 32768 }
"""


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    return tmp_path


def write(home: Path, text: str) -> Registry:
    (home / "models.toml").write_text(text, encoding="utf-8")
    return Registry()


def names(registry: Registry) -> list[str]:
    return [entry.name for entry in registry.names()]


def test_registry_given_the_example_then_every_name_and_alias_resolves(home: Path) -> None:
    registry = write(home, EXAMPLE)
    assert registry.problems == ()
    coder = registry.find("coder")
    assert {registry.find(name).name for name in ("qwen", "qwen2.5:7b")} == {"coder"}
    assert coder.path == str(home / "models" / "coder.gguf")
    spec = coder.load_spec()
    assert (spec.model_path, spec.n_ctx, spec.n_slots) == (coder.path, 8192, 4)
    assert (coder.sampling.temperature, coder.pinned, coder.ttl_s) == (0.2, True, 600)
    cloud = registry.find("cloud")
    assert [endpoint.base_url for endpoint in cloud.endpoints] == [
        "https://example.org/v1",
        "http://127.0.0.1:8000/v1",
    ]
    assert cloud.load_spec().model_path == "big"


def test_registry_given_files_beside_a_model_then_their_paths_begin_at_models_toml(
    home: Path,
) -> None:
    registry = write(
        home,
        '[[model]]\nname = "eyes"\npath = "m.gguf"\n[model.load]\n'
        'mmproj_path = "mmproj.gguf"\ndraft_model_path = "/d.gguf"\n'
        'loras = [{ path = "l.gguf", scale = 0.5 }]\n',
    )
    spec = registry.find("eyes").load_spec()
    assert (spec.mmproj_path, spec.draft_model_path) == (str(home / "mmproj.gguf"), "/d.gguf")
    assert [(lora.path, lora.scale) for lora in spec.loras] == [(str(home / "l.gguf"), 0.5)]


def test_registry_given_no_file_then_builtin_and_the_folder_are_there(home: Path) -> None:
    for name in (
        "mmproj-a-f16.gguf",
        "a-Q4_K_M.gguf",
        "b-00001-of-00002.gguf",
        "b-00002-of-00002.gguf",
        "c.txt",
    ):
        (home / "models" / name).touch()
    registry = Registry()
    assert names(registry) == [BUILTIN, "a-Q4_K_M", "b-00001-of-00002"]
    assert registry.find("a-Q4_K_M.gguf").path == str(home / "models" / "a-Q4_K_M.gguf")
    assert registry.find(BUILTIN).sampling.temperature == 0
    assert registry.find(BUILTIN).answers_with_command


def test_registry_given_a_file_that_an_entry_has_then_it_is_listed_once(home: Path) -> None:
    (home / "models" / "coder.gguf").touch()
    assert names(write(home, EXAMPLE)) == [BUILTIN, "coder", "cloud"]


def test_registry_given_a_path_then_it_needs_no_entry(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = write(home, "")
    monkeypatch.chdir(home)
    entry = registry.resolve("sub/x.gguf")
    assert entry.name == entry.path == str(home / "sub" / "x.gguf")
    (home / "models" / "a.gguf").touch()
    assert registry.resolve(str(home / "models" / "a.gguf")).name == "a"
    with pytest.raises(CatalogError):
        registry.find(str(home / "models" / "a.gguf"))
    with pytest.raises(CatalogError):
        registry.resolve("sub/x\0.gguf")


@pytest.mark.parametrize("name", ["code", "oder", "CODER", "coder ", "qwen2.5", "", "/"])
def test_registry_given_part_of_a_name_then_it_is_unknown(home: Path, name: str) -> None:
    with pytest.raises(CatalogError, match="There is no model"):
        write(home, EXAMPLE).find(name)


def test_registry_given_a_typing_error_then_it_suggests(home: Path) -> None:
    with pytest.raises(CatalogError, match='Did you mean "coder"'):
        write(home, EXAMPLE).resolve("codre")
    with pytest.raises(CatalogError, match="`luci llm list` shows those that are here"):
        write(home, EXAMPLE).resolve("xyzzyxyzzy")


def test_registry_given_a_name_of_the_catalogue_then_it_says_how_to_install_it(home: Path) -> None:
    with pytest.raises(CatalogError, match="`luci install smollm2-135m` fetches it"):
        write(home, EXAMPLE).find("SmolLM2-135M")


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('kv_type_k = "q8_0"', "n_batches = 3", 13, "load.n_batches is not known here"),
        ("n_ctx = 8192", "n_ctx = -1", 11, "load.n_ctx input should be greater"),
        ("n_ctx = 8192", 'model_path = "/x"', 11, "load.model_path string should have at most 0"),
        ("pinned = true", "pined = true", 8, "pined is not known here"),
        ("temperature = 0.2", "temperature = -2", 15, "sampling.temperature input"),
        ('name = "coder"', "", 3, "name is missing"),
        ('path = "models/coder.gguf"', "", 3, "needs either path or endpoints"),
        ("ttl_s = 600", "ttl_s = nan", 9, "finite"),
        ("ttl_s = 600", 'rpc = ["there"]', 9, "a host and a port"),
        ('name = "coder"', 'name = "builtin"', 4, '"builtin" is taken'),
        ('"qwen2.5:7b"', '"qwen"', 4, '"qwen" is taken'),
        ('["qwen", "qwen2.5:7b"]', '[\n"qwen",\n" x"]', 5, "no space at either end"),
    ],
)
def test_registry_given_a_bad_entry_then_it_is_named_with_its_line_and_the_rest_works(
    home: Path, old: str, new: str, line: int, words: str
) -> None:
    assert old in EXAMPLE
    registry = write(home, EXAMPLE.replace(old, new))
    assert len(registry.problems) == 1
    assert f"models.toml, line {line}: " in registry.problems[0]
    assert words in registry.problems[0]
    assert names(registry) == [BUILTIN, "cloud"]
    with pytest.raises(CatalogError, match=f"line {line}"):
        registry.find("coder")


def test_registry_given_a_bad_endpoint_then_its_line_is_named(home: Path) -> None:
    registry = write(home, EXAMPLE.replace('"http://127.0.0.1:8000/v1"', '"ftp://x/v1"'))
    assert "line 20: " in registry.problems[0]
    assert "must look like" in registry.problems[0]
    assert names(registry) == [BUILTIN, "coder"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[model]]\nname = "a\n', "line 2"),
        ("[[model]]\nname = 1\nname = 2\n", "line 3"),
        ("model = 3\n", "line 1: model must be a list"),
        ("\n[models]\n", "line 2: models is not known here"),
        ("x = " + "[" * 5000, "no valid TOML"),
    ],
)
def test_registry_given_a_broken_file_then_one_sentence_and_builtin_still_works(
    home: Path, text: str, words: str
) -> None:
    registry = write(home, text)
    assert len(registry.problems) == 1
    assert words in registry.problems[0]
    assert names(registry) == [BUILTIN]


def test_registry_given_no_utf8_or_a_folder_then_says_so(home: Path) -> None:
    (home / "models.toml").write_bytes(b"# \n# \xff\n")
    assert "line 2: this is no UTF-8" in Registry().problems[0]
    (home / "models.toml").unlink()
    (home / "models.toml").mkdir()
    assert "cannot be read" in Registry().problems[0]


def test_registry_given_a_changed_file_then_it_is_read_again(home: Path) -> None:
    registry = write(home, EXAMPLE)
    assert registry.find("coder").pinned
    write(home, EXAMPLE.replace("pinned = true", "pinned = false"))
    assert not registry.find("coder").pinned
    (home / "models.toml").unlink()
    assert names(registry) == [BUILTIN]


def test_set_entry_given_an_entry_then_it_is_read_back_and_comments_stay(home: Path) -> None:
    registry = write(home, EXAMPLE)
    file = home / "models.toml"
    file.chmod(0o640)
    changed = registry.find("cloud").model_copy(update={"pinned": True, "name": "cloud"})
    added = ModelEntry(
        name="sum ü",
        path="/m/s.gguf",
        load=LoadOptions(n_ctx=512, loras=(LoraSpec(path="/m/l.gguf", scale=0.5),)),
        sampling=SamplingParams(top_k=1, logit_bias=((3, -1.5),)),
        system='two\nlines "here"',
    )
    registry.set_entry(changed)
    registry.set_entry(added)
    assert registry.find("cloud") == changed
    assert registry.find("sum ü") == added
    assert registry.find("coder") == write(home, file.read_text("utf-8")).find("coder")
    assert "# My models." in file.read_text("utf-8")
    assert file.stat().st_mode & 0o777 == 0o640
    registry.remove_entry("sum ü")
    registry.remove_entry("coder")
    registry.remove_entry("cloud")
    assert names(registry) == [BUILTIN]
    assert registry.problems == ()
    assert sorted(path.name for path in home.iterdir()) == [
        *("models", "models.toml", "models.toml.lock")
    ]


def test_set_entry_given_no_file_then_makes_one_for_its_owner_alone(home: Path) -> None:
    registry = Registry()
    registry.set_entry(ModelEntry(name="a", path="/m/a.gguf"))
    assert registry.find("a").path == "/m/a.gguf"
    assert (home / "models.toml").stat().st_mode & 0o777 == 0o600


def test_set_entry_given_a_taken_name_or_a_broken_file_then_nothing_is_written(home: Path) -> None:
    registry = write(home, EXAMPLE)
    for names_ in ({"name": "new", "aliases": ("qwen",)}, {"name": "builtin"}, {"name": "qwen"}):
        with pytest.raises(ConfigError, match="is taken by the model"):
            registry.set_entry(ModelEntry.model_validate({"path": "/x.gguf", **names_}))
    assert (home / "models.toml").read_text() == EXAMPLE
    registry = write(home, "[[model]\n")
    with pytest.raises(ConfigError, match="no valid TOML"):
        registry.set_entry(ModelEntry(name="a", path="/m/a.gguf"))
    assert (home / "models.toml").read_text() == "[[model]\n"
    with pytest.raises(CatalogError, match="none was removed"):
        registry.remove_entry("coder")


def test_set_entry_given_a_folder_without_rights_then_says_so(home: Path) -> None:
    (home / "models.toml.lock").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        Registry().set_entry(ModelEntry(name="a", path="/m/a.gguf"))


def test_set_entry_given_a_link_then_the_file_behind_it_is_written(home: Path) -> None:
    real = home / "dotfiles.toml"
    real.write_text(EXAMPLE)
    (home / "models.toml").symlink_to(real)
    Registry().remove_entry("cloud")
    assert (home / "models.toml").is_symlink()
    assert 'cloud"' not in real.read_text().replace('["cloud"]', "")


@pytest.mark.parametrize(
    "fields",
    [
        {"base_url": "http://user:secret@h/v1"},
        {"base_url": "http://h/v1?x=1"},
        {"base_url": "h:80"},
        {"base_url": "http://h:99999/v1"},
        {"base_url": "http://h/v1", "api_key_env": "sk-not-a-name"},
        {"base_url": "http://h/v1", "api_key_env": "A", "api_key_file": "b"},
        {"base_url": "http://h/v1", "idle_s": 0},
    ],
)
def test_endpoint_given_what_cannot_be_then_refuses(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Endpoint.model_validate({"model": "m", **fields})


def test_entry_given_a_remote_model_then_only_what_luci_must_know_is_loaded() -> None:
    endpoint = Endpoint(base_url="http://h/v1", model="m")
    with pytest.raises(ValidationError, match="is for its server to decide"):
        ModelEntry(name="a", endpoints=(endpoint,), load=LoadOptions(n_gpu_layers=3))
    with pytest.raises(ValidationError, match="only a model with a path"):
        ModelEntry(name="a", endpoints=(endpoint,), rpc=("h:1",))


def test_entry_given_rpc_servers_then_the_load_has_them() -> None:
    entry = ModelEntry(name="a", path="/a.gguf", rpc=("127.0.0.1:50052", "[::1]:50053"))
    assert entry.load_spec().rpc_servers == ("127.0.0.1:50052", "[::1]:50053")
    assert entry.loads_like(entry.model_copy(update={"system": "x"}))
    assert not entry.loads_like(entry.model_copy(update={"rpc": ()}))


def test_docs_given_their_example_then_it_is_read_whole(home: Path) -> None:
    page = Path("docs/models.md").read_text(encoding="utf-8")
    registry = write(home, page.split("```toml\n")[1].split("```")[0])
    assert registry.problems == ()
    assert names(registry) == [BUILTIN, "coder", "small", "office", "huge"]
    assert registry.find("huge").load_spec().rpc_servers == ("127.0.0.1:50052",)


def test_registry_given_parameters_in_library_toml_then_they_count_above_the_entry(
    home: Path,
) -> None:
    registry = write(home, EXAMPLE)
    bare = registry.find("coder")
    assert (bare.sampling.temperature, bare.system) == (0.2, "")
    own = '[model.coder]\nsystem = "Code alone."\nsampling = { temperature = 0.0, top_k = 5 }\n'
    file = str(home / "x.gguf")
    (home / "library.toml").write_text(f"{own}[model.'{file}'.sampling]\ntop_k = 9\n")
    coder = registry.resolve("qwen")
    assert (coder.sampling.temperature, coder.sampling.top_k) == (0.0, 5)
    assert (coder.sampling.top_p, coder.system) == (0.95, "Code alone.")
    assert registry.described(coder) == bare
    assert registry.own(coder).system == "Code alone."
    assert registry.is_in_models_toml(coder)
    assert coder.loads_like(bare)
    path = registry.resolve(file)
    assert (path.sampling.top_k, registry.described(path).sampling.top_k) == (9, 40)
