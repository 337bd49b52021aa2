"""Every setting with its value, where that is from, and what a host that runs goes by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from luci_tui.setting_sources import Reading, Source, sections_of
from luci_tui.settings import Settings
from luci_tui.settings_schema import Setting, all_settings, free_settings, toml_words


@dataclass(frozen=True)
class HostValues:
    """What a host that runs has read when it started; empty = none runs, or it does not say."""

    values: Mapping[str, Mapping[str, JsonValue]]
    """By section and name."""
    options: Mapping[str, str]
    """Settings, as `section.name`, that an option of its start has overridden."""


NO_HOST = HostValues({}, {})


@dataclass(frozen=True)
class SettingRow:
    """One setting as it is now."""

    setting: Setting
    value: JsonValue
    source: Source
    in_host: JsonValue
    """What the host that runs goes by."""
    host_option: str
    """The option that it has this from; empty = none."""
    differs: bool
    """A host runs, and goes by another value until it is restarted."""

    @property
    def text(self) -> str:
        """Name and value, as in the file."""
        words = toml_words(self.value)
        return f"{self.setting.name} = {words}" if words else f"{self.setting.name} has no value"


def setting_rows(
    reading: Reading[Settings], host: HostValues = NO_HOST, known: Sequence[Setting] | None = None
) -> list[SettingRow]:
    """Give every setting, section by section.

    Args:
        reading: What the sources say.
        host: What a host goes by.
        known: `all_settings()`, where the caller has them already.
    """
    sections = list(sections_of(type(reading.settings)))
    values = reading.settings.model_dump(mode="json")
    settings = [*(known or all_settings()), *free_settings(reading.settings)]
    rows: list[SettingRow] = []
    for one in sorted(settings, key=lambda setting: sections.index(setting.section)):
        value = values[one.section].get(one.name)
        theirs = host.values.get(one.section, {})
        rows.append(
            SettingRow(
                setting=one,
                value=value,
                source=reading.source_of(one.key),
                in_host=theirs.get(one.name),
                host_option=host.options.get(one.key, ""),
                differs=one.is_read_at_start and one.name in theirs and theirs[one.name] != value,
            )
        )
    return rows
