# Two commands do everything, set-up included: `make demo` and `make test`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PY := .venv/bin/python
PYTEST := .venv/bin/pytest
export PYTHONDONTWRITEBYTECODE =  # what pytest compiles is kept for its next run

.PHONY: help demo demo-serving test check test-all test-torch test-torch-slow test-spark35 fuzz properties compat bench setup setup-torch setup-spark35 setup-demo clean

help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 17

demo: setup  ## the main job on real data, told as it goes
	@.venv/bin/confide image prepare
	@.venv/bin/confide demo

demo-serving: setup  ## a model trained on encrypted data and served, told as it goes
	@.venv/bin/confide demo serving

test: check  ## lint, types, unit and integration tests
	$(PYTEST) -n auto -m exhaustive tests/unit tests/fuzz
	$(PYTEST) -n auto tests/cli
	$(PYTEST) -n 2 --dist loadfile tests/integration

check: setup  ## lint, types and unit tests
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(PYTEST) -q -n auto --dist worksteal -m "not slow and not exhaustive" tests/unit tests/fuzz tests/compatibility

test-all: setup  ## the default suite and the slow tests
	$(PYTEST) -m "slow or not slow" tests

fuzz:  ## ten minutes of every parser that sees bytes of others, guided by coverage
	@scripts/setup.sh --group bench --group fuzz
	$(PY) -m tests.fuzz.run

properties: setup  ## property tests at length
	CONFIDE_HYPOTHESIS=long $(PYTEST) tests/unit -m "not spark"

test-torch: setup-torch  ## tests of distributed training, with PyTorch in an environment of its own: a quarter of an hour on two cores
	.local/torch/bin/pytest -m torch tests/integration/training tests/integration/python tests/integration/run/test_examples.py tests/integration/run/test_metrics.py tests/integration/run/test_lightning.py tests/integration/serving/test_trained.py tests/integration/canary/test_canary_training.py

test-torch-slow: setup-torch  ## ranks on Spark's executors, accuracies with one to four ranks: three quarters of an hour on two cores
	.local/torch/bin/pytest -m "torch and slow" -rP tests/integration/run/test_torch_distributor.py tests/integration/run/test_ranks_tables.py tests/integration/run/test_accuracy.py

test-spark35: setup-spark35  ## tests of Spark 3.5, in an environment of its own
	.local/spark35/bin/pytest tests/unit/spark tests/unit/jvm tests/integration/spark tests/integration/run/test_spark.py tests/integration/run/test_spark35.py tests/integration/run/test_local_cluster.py tests/integration/run/test_bigdl.py tests/integration/canary/test_canary.py
	.local/spark35/bin/pytest -m slow tests/integration/run/test_bigdl.py tests/integration/canary/test_canary_local_cluster.py

compat:  ## programs of others with and without confide, and the table of docs/compatibility.md
	@scripts/setup.sh --group bench --group compat
	$(PY) -m tests.compatibility

bench: setup setup-torch  ## every table of docs/performance.md
	$(PY) -m benchmarks

test test-all: export CONFIDE_TEST_TOOLS = 1  # setup installs a software TPM and token

setup:
	@scripts/setup.sh --group bench

setup-torch: export CONFIDE_TORCH = 1
setup-torch:
	@scripts/setup.sh --group bench

setup-spark35: export CONFIDE_SPARK35 = 1
setup-spark35:
	@scripts/setup.sh

clean:  ## remove what set-up and tests made
	rm -rf .venv .local .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
