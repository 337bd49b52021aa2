"""Counters of the HTTP API in Prometheus' form. No label ever holds what a request said."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from luci_tui.engine import frames

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class ApiMetrics:
    """One registry of its own, so that two servers in one process do not meet."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self.requests = Counter(
            "luci_http_requests",
            "Requests that were answered, by path and status.",
            ("path", "status"),
            registry=registry,
        )
        self.request_seconds = Histogram(
            "luci_http_request_seconds",
            "From the headers of a request to the end of its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.prompt_tokens = Counter(
            "luci_prompt_tokens", "Tokens of prompts.", ("model",), registry=registry
        )
        self.cached_tokens = Counter(
            "luci_cached_tokens",
            "Tokens of prompts that were in the KV cache.",
            ("model",),
            registry=registry,
        )
        self.completion_tokens = Counter(
            "luci_completion_tokens", "Tokens of answers.", ("model",), registry=registry
        )
        self.ttft_seconds = Histogram(
            "luci_ttft_seconds",
            "From the arrival of a request in the engine to its first token.",
            ("model",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.cancelled = Counter(
            "luci_cancelled_answers",
            "Answers that were given up before their end.",
            ("model",),
            registry=registry,
        )
        self.running = Gauge("luci_running_requests", "Places that are taken.", registry=registry)
        self.queued = Gauge("luci_queued_requests", "Requests that wait.", registry=registry)

    def count_answer(self, model: str, done: frames.Done) -> None:
        """Count one answer that came to its end."""
        usage = done.usage
        self.count_tokens(model, usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)
        if usage.completion_tokens:
            self.ttft_seconds.labels(model).observe(done.timings.ttft_ms / 1000)

    def count_tokens(self, model: str, prompt: int, cached: int = 0, completion: int = 0) -> None:
        """Count the tokens of one request."""
        self.prompt_tokens.labels(model).inc(prompt)
        self.cached_tokens.labels(model).inc(cached)
        self.completion_tokens.labels(model).inc(completion)

    def text(self, n_running: int, n_queued: int) -> bytes:
        """Return all of it as Prometheus reads it."""
        self.running.set(n_running)
        self.queued.set(n_queued)
        return generate_latest(self._registry)
