# `make` alone prints this help. Every target may be run twice.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# What `make demo` trains for: enough to see the loss fall, short enough to wait for.
DEMO_EPOCHS ?= 4

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env test lint format demo bench docs-check clean

help: ## this list
	@echo "PYTHON=$(PYTHON) (3.11 or 3.12) makes $(VENV)"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: $(STAMP) ## make .venv with everything that can be installed without a GPU

# torch comes first and alone: were it named together with the rest, pip would weigh other
# releases of it against the rest, each of which is a download of gigabytes. On Linux, PyPI's build
# brings CUDA; PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu takes the one for the CPU.
# pytorchcv (a net for benchmarks/fidelity.py) names torchvision, which nothing here imports.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "datac needs Python 3.11 or newer; name one: make env PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps pytorchcv
	touch $@

# Torch's threads else spin at every barrier, which on a busy machine costs more than the work, and
# numpy's wait for one another over matrices that are small.
# A worker for each core, at most four: each holds a gigabyte or two. A file's tests stay with one
# worker, because they share what its fixtures searched and trained; files come in order of name, in
# which the long ones (tests/end_to_end) do not come last.
test: env ## run the tests, several files at once
	OMP_WAIT_POLICY=PASSIVE OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: env ## check style, types, who imports whom, and the Dockerfile
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	if [ -x $(BIN)/hadolint ]; then $(BIN)/hadolint Dockerfile; else echo "hadolint is not on PyPI for this machine"; fi

format: env ## put the files into the style that lint asks for
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Exit code 3 is let through: it says that a target's platform is missing, and the rest was made.
demo: env ## search, train a little, compile, check; say where the report is
	rm -rf demo
	mkdir demo
	cd demo && ../$(BIN)/datac search --out run
	cd demo && ../$(BIN)/datac train genotype.json --data shapes --inherit run --epochs $(DEMO_EPOCHS)
	cd demo && { ../$(BIN)/datac compile genotype.json --weights child --data shapes \
		--target torch --target onnx --target openvino --target trt-rtx || test $$? -eq 3; }
	cd demo && ../$(BIN)/datac check build
	@echo "The report: $(CURDIR)/demo/build/report.html"

bench: env ## compare datac's ONNX emission with torch.onnx.export
	$(BIN)/python benchmarks/emission.py

docs-check: env ## compare README, docs and examples with what datac does
	$(BIN)/python -m pytest -m docs

clean: ## remove the environment and what the demo made
	rm -rf $(VENV) demo
