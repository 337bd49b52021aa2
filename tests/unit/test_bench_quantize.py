import argparse
from pathlib import Path

from luci_tui.bench.quantize import Times, report


def test_report_gives_the_median_of_each_rounds_ratio() -> None:
    luci = Times(whole_s=[2.0, 2.0, 8.0], core_s=[1.0, 2.0, 4.0])
    peer = Times(whole_s=[1.0, 2.0, 4.0], core_s=[1.0, 3.0, 3.0])
    options = argparse.Namespace(model=Path("big.gguf"), type="Q4_K_M", threads=2)
    first, core, whole = report((luci, peer), options)
    assert first == "big.gguf to Q4_K_M, 2 threads, files are equal"
    assert "luci 2.00 s, llama-quantize 3.00 s, speed ratio 1.000" in core
    assert "luci 2.00 s, llama-quantize 2.00 s, speed ratio 0.500" in whole
