"""When a worker that was lost is started again, and when luci gives it up for a while."""

from __future__ import annotations

from dataclasses import dataclass

from luci_tui.errors import EngineError, WorkerLostError
from luci_tui.units import format_count, format_duration


@dataclass(frozen=True)
class RestartPolicy:
    """How patient luci is with a model whose workers are lost."""

    quick_s: float = 60.0
    """A worker that lives shorter and gives no answer died quickly."""
    first_delay_s: float = 0.5
    """Wait after the second quick death in a row; each further one doubles it. None after one."""
    max_delay_s: float = 60.0
    max_quick_deaths: int = 5
    """After so many in a row the model is given up until `max_delay_s` has passed."""
    failed_load_s: float = 10.0
    """For so long a model whose load was refused is passed over, if it has a fallback."""


class Health:
    """What is remembered about the deaths of one model's workers."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self.n_deaths = 0
        """All of them."""
        self.n_quick_deaths = 0
        """Those in a row without an answer in between."""
        self.last_error: EngineError | None = None
        """Why it was lost, or could not be loaded, last; None = never."""
        self.restart_reason = ""
        """Why the next start is a restart; "" = it is none."""
        self._retry_at_s = 0.0
        self._pass_over_until_s = 0.0

    def note_death(self, error: EngineError, lived_s: float, n_answers: int, now_s: float) -> None:
        """Remember a worker that was lost, or a load that it did not survive."""
        self.n_deaths += 1
        self.last_error = error
        self.restart_reason = error.message
        is_quick = n_answers == 0 and lived_s < self._policy.quick_s
        self.n_quick_deaths = self.n_quick_deaths + 1 if is_quick else 0
        self._retry_at_s = now_s + self._delay_s()

    def note_failed_load(self, error: EngineError, now_s: float) -> None:
        """Remember a load that was refused in good order."""
        self.last_error = error
        self._pass_over_until_s = now_s + self._policy.failed_load_s

    def note_loaded(self) -> None:
        """Remember that the load went well."""
        self.restart_reason = ""
        self._pass_over_until_s = 0.0

    def retry_in_s(self, now_s: float) -> float:
        """Seconds until the next start; 0 = now."""
        return max(0.0, self._retry_at_s - now_s)

    def is_passed_over(self, now_s: float) -> bool:
        """Tell whether a fallback is to be tried before another load."""
        return now_s < self._pass_over_until_s

    def given_up(self, name: str, now_s: float) -> WorkerLostError | None:
        """Give the error for a model that is not started at present; None = it may be."""
        in_s = self.retry_in_s(now_s)
        if in_s <= 0 or self.n_quick_deaths < self._policy.max_quick_deaths:
            return None
        times = format_count(self.n_quick_deaths, "worker")
        return WorkerLostError(
            f"{name} lost {times} in a row before one gave an answer; the last time: "
            f"{self.restart_reason} It is tried again in {format_duration(in_s)}.",
            code="crash_loop",
        )

    def _delay_s(self) -> float:
        if self.n_quick_deaths >= self._policy.max_quick_deaths:
            return self._policy.max_delay_s
        if self.n_quick_deaths < 2:
            return 0.0
        # The exponent is small: it is below max_quick_deaths.
        delay_s = self._policy.first_delay_s * 2.0 ** (self.n_quick_deaths - 2)
        return min(self._policy.max_delay_s, delay_s)
