# Needs make and one of Python 3.10 to 3.13; everything else goes into $(VENV).

VENV    ?= .venv
PYTHONS ?= python3.13 python3.12 python3.11 python3.10 python3
JOBS    ?= 2

# Of `make fuzz`: files of each format and kind of damage.
FUZZ_EXAMPLES ?= 2000

# Of `make bench`: rows by case (small or full), rounds, and rounds of the slow peers.
SCALE       ?= small
ROUNDS      ?= 3
PEER_ROUNDS ?= 1
CASES       ?=

# Of `make soak`, for all runners together; RUNNERS=local or flink, else those that can run here.
SECONDS ?= 1800
RUNNERS ?=

BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := $(VENV)/.peers_installed
CUDA  := $(VENV)/.cuda_installed
BENCH  = $(BIN)/python -m benchmarks.run --scale $(SCALE) --rounds $(ROUNDS) \
    --peer_rounds $(PEER_ROUNDS) $(if $(CASES),--case $(CASES))
WORKS := import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))

export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: help venv demo test fuzz faults flink-test prism-test lint bench bench-gpu gpu-check clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   train a small CNN on 1,797 digits and score them from TFRecords and PNGs"
	@echo "make test   ruff, mypy, import-linter, pytest"
	@echo "make lint   the first three of them"
	@echo "make fuzz   damaged files of every format, FUZZ_EXAMPLES=2000 of each kind"
	@echo "make faults  kill jobs at every point of their way, resume them, write docs/guarantees.md's figures"
	@echo "make flink-test  score on a Flink cluster of this machine (needs java and mvn)"
	@echo "make prism-test  score on Prism, which Beam's DirectRunner tries first (needs go, once)"
	@echo "make object-store-test  score in buckets of emulators: gs:// and s3://"
	@echo "make soak   kill, starve and feed bad rows at random for SECONDS (1800), count every row"
	@echo "make bench  measure against the bare model and other systems, and write docs/benchmarks.md"
	@echo "            (CASES=a,b SCALE=full ROUNDS=5 PEER_ROUNDS=5); make bench-gpu: the same on GPUs"
	@echo "make gpu-check  compare one GPU with the CPU, run out of its memory, write a table (minutes)"
	@echo "make venv   only set up $(VENV)"
	@echo "make clean  remove $(VENV), demo/ and what builds leave"

venv: $(STAMP)

$(STAMP): pyproject.toml setup.py constraints.txt
	@test -x $(BIN)/python || for python in $(PYTHONS); do \
	    if $$python -c '$(WORKS)' 2>/dev/null; then \
	        echo "setting up $(VENV) with `$$python --version`"; \
	        exec $$python -m venv $(VENV); \
	    fi; \
	done
	@test -x $(BIN)/python || { \
	    echo "Expected Python 3.10 to 3.13 with its venv module. Received: none of $(PYTHONS)." >&2; \
	    echo "Install one (Debian: apt-get install python3 python3-venv) or pass PYTHONS=/path/to/python." >&2; \
	    exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    --editable '.[dev,images,legacy,report]' --constraint constraints.txt
	@touch $@

demo: $(STAMP)
	$(BIN)/python examples/digits_demo.py --folder demo

# A writer that an emulator's end leaves behind tries again for minutes: buckets have a target.
test: lint
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --ignore tests/object_stores

faults: $(STAMP)
	$(BIN)/python -m benchmarks.faults

flink-test: $(STAMP)
	$(BIN)/python -m pytest -m flink tests/runners

prism-test: $(STAMP)
	$(BIN)/python -m pytest -m prism tests/runners

fuzz: $(STAMP)
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -X faulthandler -m pytest \
	    --numprocesses $(JOBS) -p no:logging tests/bad_input/test_fuzz.py

object-store-test: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[aws,gcp]' \
	    --requirement tests/object_stores/requirements.txt --constraint constraints.txt
	$(BIN)/python -m pytest tests/object_stores

soak: $(STAMP)
	$(BIN)/python -m tests.faults.soak --seconds $(SECONDS) $(if $(RUNNERS),--runners $(RUNNERS)) && \
	    $(BIN)/python -m benchmarks.soak_table

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(PEERS): $(STAMP) benchmarks/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    --requirement benchmarks/requirements.txt --constraint constraints.txt
	@touch $@

bench: $(PEERS)
	$(BENCH); code=$$?; test $$code -eq 2 || $(BIN)/python -m benchmarks.page; exit $$code

$(CUDA): $(STAMP) containers/constraints-gpu.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    --editable '.[gpu]' --constraint constraints.txt --constraint containers/constraints-gpu.txt
	@touch $@

gpu-check: $(CUDA)
	$(BIN)/python -m benchmarks.gpu_check

bench-gpu: $(PEERS) $(CUDA)
	$(BENCH) --gpu; code=$$?; test $$code -eq 2 || $(BIN)/python -m benchmarks.page; exit $$code

clean:
	rm -rf $(VENV) demo benchmarks/data build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
