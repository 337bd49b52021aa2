from luci_tui.host.measure import Measured


def test_measured_within_the_bars_misses_none() -> None:
    assert Measured((900.0, 300.0, 310.0), 0.1, 50_000_000).misses() == []


def test_measured_beyond_the_bars_names_each() -> None:
    found = Measured((900.0, 800.0, 100.0), 0.7, 500_000_000).misses()
    assert [miss.split()[0] for miss in found] == ["start", "idle", "memory"]
