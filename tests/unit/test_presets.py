from __future__ import annotations

from pathlib import Path

import pytest

from luci_tui.chat.presets import read_presets
from luci_tui.errors import ConfigError

PERSPECTIVES = (
    *("newton", "da-vinci", "human-intuition", "neural-network", "quantum", "philosophical"),
    *("resilient-kindness", "bias-mitigation", "psychological", "mathematical", "copilot"),
)


def write(folder: Path, text: str) -> Path:
    path = folder / "presets.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_presets_without_a_file_then_the_eleven_perspectives_are_there(tmp_path: Path) -> None:
    found = read_presets(tmp_path / "presets.toml")
    assert found.problems == ()
    assert tuple(one.name for one in found.perspectives) == PERSPECTIVES
    assert found.panels["all-perspectives"].presets == PERSPECTIVES
    for one in found.perspectives:
        assert 0.3 <= float(str(one.sampling["temperature"])) <= 0.9
        assert len(one.system) > 200
        assert one.about
    assert len({one.system for one in found.presets.values()}) == len(found.presets)


def test_presets_of_ones_own_then_they_come_first_and_replace_those_of_the_same_name(
    tmp_path: Path,
) -> None:
    own = write(
        tmp_path,
        '[preset.terse]\nsystem = "One sentence."\n'
        '[preset.newton]\ntitle = "N"\nsystem = "Apples."\nsampling = { top_k = 3 }\n'
        '[panel.mine]\npresets = ["terse", "newton"]\n',
    )
    found = read_presets(own)
    assert found.problems == ()
    assert list(found.presets)[:2] == ["terse", "newton"]
    assert found.find(" TERSE ").system == "One sentence."
    newton = found.find("n")
    assert (newton.system, newton.sampling, newton.is_own) == ("Apples.", {"top_k": 3}, True)
    assert found.panels["mine"].presets == ("terse", "newton")
    assert found.find("copilot").is_own is False


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[preset.a", "line 1: this is no valid TOML"),
        ('\n[preset.a]\ncolour = "red"', 'line 3: preset "a" is left out, because colour is not'),
        ("[preset.a]\nsystem = 3", 'line 2: preset "a" is left out, because system input should'),
        ("[preset.a]\n[preset.a.sampling]\ntemperature = -1", 'line 3: preset "a" is left out, '),
        ("[preset.a]\nsampling = { warmth = 1 }", "because sampling.warmth is not known here"),
        ('[preset."a b"]', "a name has letters"),
        ("preset.a = 3", 'line 1: preset "a" is left out'),
        ("\n\n[other]\n", "line 3: other is not known here"),
        (
            '[panel.p]\npresets = ["newton", "nobody"]',
            'line 2: panel "p" is left out, because there',
        ),
        ('[panel.p]\npresets = ["newton"]', 'panel "p" is left out, because presets'),
    ],
)
def test_presets_that_cannot_be_used_then_file_and_line_are_named_and_the_rest_holds(
    tmp_path: Path, text: str, words: str
) -> None:
    own = write(tmp_path, text)
    found = read_presets(own)
    assert len(found.problems) == 1
    assert found.problems[0].startswith(f"{own}, line ")
    assert words in found.problems[0]
    assert "newton" in found.presets


def test_presets_given_a_file_that_is_no_text_then_they_say_so(tmp_path: Path) -> None:
    own = tmp_path / "presets.toml"
    own.write_bytes(b"\xff\xfe")
    assert "cannot be read as text" in read_presets(own).problems[0]


def test_preset_that_nobody_wrote_then_the_message_names_those_that_there_are(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match=r'There is no preset "nobody"\. There are: newton, '):
        read_presets(tmp_path / "none.toml").find("nobody")
