"""How models are asked: what models.toml and library.toml say, and how a person changes it."""

from __future__ import annotations

import asyncio

from luci_tui.host.api.messages import ChangeModelParameters, ModelParameters
from luci_tui.library import own_settings
from luci_tui.manager.entries import BUILTIN
from luci_tui.manager.registry import Registry


class ModelParameterDesk:
    """Reads and writes the parameters of models. Belongs to the host's event loop."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def read(self, name: str) -> ModelParameters:
        """Say how a model is asked.

        Raises:
            LuciError: there is no such model.
        """
        await self._registry.refresh()
        entry = self._registry.resolve(name)
        described, own = self._registry.described(entry), self._registry.own(entry)
        is_described = bool(described.sampling.model_fields_set) or bool(described.system)
        who = "built in" if entry.name == BUILTIN else "models.toml"
        return ModelParameters(
            name=entry.name,
            is_remote=entry.is_remote,
            answers_with_command=entry.answers_with_command,
            described_in=who if is_described else "",
            described=described.sampling.model_dump(mode="json", exclude_unset=True),
            described_system=described.system,
            own=dict(own.sampling),
            own_system=own.system,
        )

    async def change(self, wanted: ChangeModelParameters) -> ModelParameters:
        """Write what a person sets into library.toml; the next request is asked that way.

        Raises:
            LuciError: there is no such model, a value cannot be used, or the file not be written.
        """
        await self._registry.refresh()
        name = self._registry.resolve(wanted.name).name
        if wanted.sampling:
            await asyncio.to_thread(own_settings.set_sampling, name, wanted.sampling)
        if wanted.system is not None:
            await asyncio.to_thread(own_settings.set_system, name, wanted.system)
        return await self.read(name)
