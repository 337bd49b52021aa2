# Every command of the project. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NATIVE_SOURCES := $(shell find native -name '*.cpp' -o -name '*.h' -o -name 'CMakeLists.txt' -o -name '*.cmake' -o -name '*.lock')
CXX_FILES := $(shell find native -name '*.cpp' -o -name '*.h')
SANITIZED := build/sanitize
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

.DEFAULT_GOAL := help
.PHONY: help run test test-screens test-terminal test-convert lint format build native-test sanitize soak bench bench-host bench-peers bench-downloads bench-tui validator-peers docs wheel clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: $(VENV)/.installed ## set everything up and open the app on the built-in model
	$(BIN)/python -m luci_tui

test: $(VENV)/.installed-dev ## set everything up and run the tests
	$(BIN)/python -m pytest

test-screens: $(VENV)/.installed-dev ## compare every screen and state with its picture, at two sizes, dark and light
	$(BIN)/python -m pytest -m captures

test-terminal: $(VENV)/.installed-dev ## take terminal, worker and host away from the screen on a pseudo-terminal
	$(BIN)/python -m pytest -m terminal

test-convert: $(VENV)/.installed-convert ## install torch and transformers, and test `luci convert` from weights to answer
	$(BIN)/python -m pytest -m convert

lint: $(VENV)/.installed-dev ## ruff, basedpyright, import-linter, stubtest, clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/python -m mypy.stubtest luci_tui._native --allowlist native/bindings/stubtest_allowlist.txt
	$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)

format: $(VENV)/.installed-dev ## format Python and C++
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_FILES)

build: $(VENV)/.installed ## build the native core again after a change

native-test: SANITIZED := build/native
native-test: SANITIZE_FLAGS := -DCMAKE_BUILD_TYPE=Release
native-test: $(VENV)/.installed-dev ## the C++ tests without sanitizers
	$(call run_cxx_tests)

# -O1 and no CPU-specific kernels: the sanitizers look at the same code in a third of the build time.
sanitize: SANITIZE_FLAGS := -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG='-O1 -g1' -DCMAKE_CXX_FLAGS_DEBUG='-O1 -g1' \
	-DGGML_NATIVE=OFF -DLUCI_SANITIZE=address,undefined
sanitize: $(VENV)/.installed-dev ## the C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(call run_cxx_tests)

# A million mutants through the validator under the sanitizers, ten thousand of those it accepts through a load.
soak: $(VENV)/.installed-dev sanitize native-test ## the full counts of kill, fault and fuzz tests
	cd build/sanitize && ASAN_OPTIONS=quarantine_size_mb=8 native/tests/fuzz_validate native/tests/models/seeds 900000 11 deep
	cd build/sanitize && ASAN_OPTIONS=quarantine_size_mb=8 native/tests/fuzz_validate native/tests/models 100000 12
	cd build/native && native/tests/fuzz_load native/tests/models 10000 13 mutant
	$(BIN)/python -m pytest -m slow --timeout 3600

bench: $(VENV)/.installed ## measure the built-in model through the worker and in the bare core
	$(BIN)/python -m luci_tui bench

bench-host: $(VENV)/.installed ## measure the host: start to ready, idle CPU, memory
	$(BIN)/python -m luci_tui.host.measure

bench-peers: $(VENV)/.installed ## compare luci with llama.cpp's tools and llama-cpp-python; rewrites docs/benchmarks.md
	$(BIN)/python -m luci_tui.bench.peers --rounds 5 --table docs/benchmarks.md

bench-downloads: $(VENV)/.installed ## compare downloads with curl and hf; rewrites their table in docs/benchmarks.md
	$(BIN)/python -m luci_tui.bench.downloads --rounds 5 --table docs/benchmarks.md

bench-tui: $(VENV)/.installed-dev ## measure the screen on a terminal; rewrites its table in docs/benchmarks.md
	$(BIN)/python -m tests.bench_tui --table docs/benchmarks.md

validator-peers: native-test ## compare the validator with other readers; rewrites docs/validator-peers.md (needs Node.js)
	$(BIN)/python -m tests.support.readers.compare docs/validator-peers.md build/native/native/tests/read_gguf

docs: $(VENV)/.installed-dev ## write the help of every command into docs/cli.md and draw the pictures (needs tmux)
	$(BIN)/python -m luci_tui.cli.docs --write
	LUCI_WRITE_PICTURES=1 $(BIN)/python -m pytest -n 0 -rs tests/e2e/test_walkthrough.py

wheel: $(VENV)/.installed-dev ## build a wheel into dist/
	$(BIN)/python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist .

clean: ## remove what was built, not the caches
	rm -rf build dist $(VENV)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("luci needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet 'scikit-build-core>=1.1,<2' 'pybind11>=3,<4' 'cmake>=3.25,<4' ninja

# Without build isolation the build folder stays, so that only what changed is compiled again.
$(VENV)/.installed: $(VENV)/bin/python pyproject.toml CMakeLists.txt $(NATIVE_SOURCES)
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[dev]'
	@touch $@

$(VENV)/.installed-convert: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[dev-convert]'
	@touch $@

define run_cxx_tests
	$(BIN)/cmake -S . -B $(SANITIZED) -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja \
		-DPython_EXECUTABLE=$(abspath $(BIN))/python -DLUCI_BUILD_TESTS=ON -DLUCI_ACCELERATOR=cpu $(SANITIZE_FLAGS)
	$(BIN)/cmake --build $(SANITIZED) --target luci_tests -j $(JOBS)
	UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 $(BIN)/ctest --test-dir $(SANITIZED) --output-on-failure
endef
