"""What answers cost: power and its price from config.toml, prices of tokens from models.toml."""

from __future__ import annotations

from pathlib import Path

from luci_tui import paths
from luci_tui.chat.cost import Rates, RatesOf
from luci_tui.errors import CatalogError, ModelLoadError
from luci_tui.manager.registry import Registry
from luci_tui.settings import CostSettings, load_settings


def load_rates(
    home: Path | None = None,
    *,
    watts: float | None = None,
    price_per_kwh: float | None = None,
    cost: CostSettings | None = None,
) -> RatesOf:
    """Return what tells the rates of a model.

    Args:
        home: The home folder; None = the one of the environment.
        watts: Power in place of the setting.
        price_per_kwh: Price in place of the setting.
        cost: Settings that were read already; None = they are read, and have to be usable.

    Raises:
        ConfigError: the settings cannot be used.
    """
    cost = cost or load_settings(home or paths.luci_home()).cost
    registry = Registry()
    machine = Rates(
        watts=cost.watts if watts is None else watts,
        price_per_kwh=cost.price_per_kwh if price_per_kwh is None else price_per_kwh,
        currency=cost.currency,
    )

    def rates_of(model: str) -> Rates:
        try:
            entry = registry.resolve(model)
        except (CatalogError, ModelLoadError):
            return machine.model_copy(update={"place": "unknown"})
        if not entry.is_remote:
            return machine
        return machine.model_copy(
            update={
                "place": "elsewhere",
                "price_per_million_prompt_tokens": entry.price_per_million_prompt_tokens,
                "price_per_million_completion_tokens": entry.price_per_million_completion_tokens,
            }
        )

    return rates_of
