# setup · demo · test · test-slow · test-gpu · lint · docs · package · bench
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup demo test test-slow test-gpu lint docs package bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@echo "installing into .venv; PyTorch makes this take minutes, once"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

demo: setup
	$(BIN)/minaction quickstart

test: setup
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

test-slow: setup
	$(BIN)/python -m pytest -m slow --timeout=1800

test-gpu: setup
	$(BIN)/python -m pytest -m gpu

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

docs: setup
	$(BIN)/python docs/site.py

package: setup
	rm -rf build/package
	$(BIN)/python -m build --outdir build/package
	$(BIN)/python -m twine check --strict build/package/*
	$(PYTHON) -m venv build/package/environment
	build/package/environment/bin/python -m pip install --quiet --constraint constraints.txt build/package/*.whl
	cd build/package && environment/bin/minaction quickstart

bench: setup
	$(BIN)/python benchmarks/start_up.py --out results/benchmarks/start_up.json
	$(BIN)/python benchmarks/study_memory.py --out results/benchmarks/study_memory.json
	$(BIN)/python benchmarks/report_size.py --out results/benchmarks/report_size.json
	$(BIN)/python benchmarks/energy_overhead.py --out results/benchmarks/energy_overhead.json
	$(BIN)/python benchmarks/integration_overhead.py --out results/benchmarks/integration_overhead.json
	$(BIN)/python benchmarks/clock_noise.py --out results/benchmarks/clock_noise.json
	$(BIN)/python benchmarks/anova_speed.py --out results/benchmarks/anova_speed.json
	$(BIN)/python benchmarks/analyse_speed.py --out results/benchmarks/analyse_speed.json
	$(BIN)/python benchmarks/against_lightning.py --out results/benchmarks/against_lightning.json
	$(BIN)/python benchmarks/journal_scale.py --out results/benchmarks/journal_scale.json
	$(BIN)/python benchmarks/plan_accuracy.py --out results/benchmarks/plan_accuracy.json
	$(BIN)/python benchmarks/doc_pages.py --out results/benchmarks/doc_pages.json
	$(BIN)/python benchmarks/ray_overhead.py --out results/scale/ray_overhead.json

clean:
	rm -rf .venv build dist src/*.egg-info
