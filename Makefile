PYTHON ?= .venv/bin/python

.PHONY: bench-peers
bench-peers: ## compare luci with llama.cpp's tools and llama-cpp-python; rewrites docs/benchmarks.md
	$(PYTHON) -m luci_tui.bench.peers --rounds 5 --table docs/benchmarks.md
