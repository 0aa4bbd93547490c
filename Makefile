# make demo: a pruned model, compiled and run on the simulator.   make test: all tests.
# Both set up $(VENV) by themselves, once.

VENV ?= .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.with-test
LINT := $(VENV)/.with-dev

FIND_PYTHON := for p in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { command -v "$$p"; exit 0; }; done; \
	echo "no Python 3.11 or newer found: install one, or say make PYTHON=/path/to/python3" >&2; exit 1

.PHONY: help setup demo test lint format docs bench validate clean

help:
	@echo "make demo      compile a pruned model and run it on the simulator"
	@echo "make test      all tests"
	@echo "make lint      ruff and pyright"
	@echo "make format    format the sources"
	@echo "make docs      write the generated pages of docs/"
	@echo "make bench     the benchmarks"
	@echo "make validate  measured V100 products, the dual-side core's published curve; JSON, plots in out/"
	@echo "make clean     remove $(VENV), out/ and caches"

setup: $(RUN)

# An environment with an extra of pyproject.toml. The stamp is written last: a half-made one is made
# again, and so is one that is older than pyproject.toml.
$(VENV)/.with-%: pyproject.toml
	@python=$$($(FIND_PYTHON)) || exit 1; \
	echo "setting up $(VENV) [$*] with $$python"; \
	test -x "$(BIN)/python" || "$$python" -m venv "$(VENV)" || { \
	echo "no working venv module in $$python (on Debian: apt install python3-venv)" >&2; exit 1; }
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	@touch "$@"

demo: $(RUN)
	@"$(BIN)/dstc" run examples/digits_cnn/digits_cnn_pruned90.onnx \
		--input examples/digits_cnn/digits_test.npz --labels y \
		--machine dstc --compare v100 --json out/demo.json --report out/demo.html

test: $(RUN)
	@"$(BIN)/python" -m pytest -n 2

lint: $(LINT)
	@"$(BIN)/ruff" check .
	@"$(BIN)/ruff" format --check .
	@"$(BIN)/pyright" --pythonpath "$(BIN)/python"

format: $(LINT)
	@"$(BIN)/ruff" check --fix-only .
	@"$(BIN)/ruff" format .

docs: $(RUN)
	@"$(BIN)/python" -m dstc.compiler.docs

bench: $(RUN)
	@"$(BIN)/python" benchmarks/startup.py
	@"$(BIN)/python" benchmarks/micro/run.py
	@"$(BIN)/python" benchmarks/simulator_speed.py
	@"$(BIN)/python" benchmarks/gemm_sweep.py --sms 16

validate: $(RUN)
	@"$(BIN)/dstc" validate v100 --json out/validate_v100.json --plot out/validate_v100.svg
	@"$(BIN)/dstc" validate dstc --json out/validate_dstc.json --plot out/validate_dstc.svg

clean:
	rm -rf "$(VENV)" out build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
