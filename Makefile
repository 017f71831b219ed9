# Every target sets up what it needs: a virtual environment in .venv from requirements.lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check bench clean

$(VENV)/.base: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q -c requirements.lock -e .
	@touch $@

$(VENV)/.ready: $(VENV)/.base
	$(BIN)/python -m pip install -q -c requirements.lock -e '.[dev,deep,rl,portfolio,ray]'
	@touch $@

demo: $(VENV)/.base  ## run the main job on the embedded market and print where the report is
	$(BIN)/alphaloom run configs/factor_model.toml

test: $(VENV)/.ready  ## run the tests
	$(BIN)/python -m pytest -n auto

check: $(VENV)/.ready  ## style, types, floors, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n auto

$(VENV)/.bench: $(VENV)/.ready benchmarks/requirements.txt
	$(BIN)/python -m pip install -q -c requirements.lock -r benchmarks/requirements.txt
	@touch $@

bench: $(VENV)/.bench  ## every speed claim, measured beside its peer (about half an hour; qlib_speed.py wants its own environment)
	$(BIN)/python benchmarks/start_time.py
	$(BIN)/python benchmarks/metrics_speed.py
	$(BIN)/python benchmarks/backtest_speed.py
	$(BIN)/python benchmarks/factor_speed.py
	$(BIN)/python benchmarks/factor_analysis_speed.py
	$(BIN)/python benchmarks/search_speed.py
	$(BIN)/python benchmarks/neutralise_speed.py
	$(BIN)/python benchmarks/executor_overhead.py
	$(BIN)/python benchmarks/minimum_variance_speed.py
	$(BIN)/python benchmarks/optimiser_speed.py
	$(BIN)/python benchmarks/directional_speed.py
	$(BIN)/python benchmarks/training_speed.py
	$(BIN)/python benchmarks/mining_speed.py
	$(BIN)/python benchmarks/environment_speed.py
	$(BIN)/python benchmarks/a2c_speed.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
