"""The host and the HTTP server as `make bench-peers` measures them, on a tiny model."""

from dataclasses import replace
from pathlib import Path

import pytest

from luci_tui.bench.peers import own_rounds, results, serve, worker, workload
from luci_tui.bench.peers.build import peers_of
from luci_tui.bench.peers.rounds import Bench, http_streams
from luci_tui.errors import EngineError
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.arch_parts import Sizes

pytestmark = pytest.mark.native

SIZES = Sizes(n_vocab=32_000)
"""As many tokens as the prompts of the comparison are drawn from."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "tiny.gguf"
    return write_arch_model(TinyArch.LLAMA, path, sizes=SIZES)


def test_turn_host_records_prefill_and_decode_through_the_socket(
    model: Path, tmp_path: Path
) -> None:
    collector = results.Collector()
    bench = Bench("tiny", model, peers_of(tmp_path), 1, tmp_path, collector, n_repeats=2)
    own_rounds.turn_host(bench, 0)
    found = collector.report((), rounds=1).series
    assert [(one.test, one.contender) for one in found] == [
        ("pp512", results.HOST),
        ("tg128", results.HOST),
    ]
    assert all(one.median > 0 for one in found)


async def test_serve_with_many_clients_streams_whole_answers_to_all(model: Path) -> None:
    with serve.running_serve(worker.load_spec(model, 1, 4)) as target:
        answers = await http_streams(target, 4)
        assert [answer.n_tokens for answer in answers] == [workload.N_DECODE + 1] * 4
        assert all(one.sent_s < one.first_s < one.last_s for one in answers)
        with pytest.raises(EngineError, match="There is no model"):
            await replace(target, model="another").stream([1], 1)
