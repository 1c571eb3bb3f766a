# `make help` lists the targets. A fresh clone needs Python 3.11 or newer with venv, Rust, g++ and make; the rest is set up
# here, in .venv and target. Stamp files keep what has not changed from being done again.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
VENV := .venv
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export PATH := $(VIRTUAL_ENV)/bin:$(PATH)
unexport PYTHONPATH PYTHONHOME
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The wheel names no folder of the machine that built it.
export RUSTFLAGS := --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src=crates --remap-path-prefix=$(CURDIR)=backcast

PACKAGES := $(VENV)/.packages
WHEEL := $(VENV)/.wheel
SOURCES := Cargo.toml Cargo.lock build.rs pyproject.toml $(shell find src -name '*.rs' -o -name '*.cpp') \
	$(shell find python -name '*.py' -o -name '*.pyi' -o -name py.typed)

# The release that `make test-torch` tests on.
TORCH ?= 2.15.0
OTHER := target/torch-$(TORCH)

.PHONY: help setup build demo test test-all test-rust test-torch libtorch fuzz lint format wheel release-check lock bench bench-quality docs \
	clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed 's/:.*  ## /\t/' | expand -t 15

setup: $(PACKAGES)  ## Make .venv and install the pinned packages

build: $(WHEEL)  ## Build the wheel and install it in .venv

demo: $(WHEEL)  ## Train on one moving digit; pictures, tables and the model come to out/
	python -m backcast demo

test: lint test-rust  ## Run the lints and all tests but the slow ones
	python -m pytest -m "not slow"

test-all: lint test-rust  ## Run the lints and all tests
	python -m pytest

test-rust: $(PACKAGES)  ## Run the tests in Rust
	LD_LIBRARY_PATH="$$(make libtorch)" cargo test --release --locked

libtorch: $(PACKAGES)
	@python -c 'from importlib.util import find_spec as f; print(f("torch").submodule_search_locations[0] + "/lib")'

# The pinned packages but torch and what comes with it: about 5 GB for each release.
test-torch: $(WHEEL)  ## Run the tests on another torch: make test-torch TORCH=2.15.0
	test -x $(OTHER)/bin/python || $(PYTHON) -m venv $(OTHER)
	grep -vE '^(torch|triton|nvidia-|cuda-)' requirements.lock > $(OTHER)/requirements.txt
	$(OTHER)/bin/pip install --quiet --requirement $(OTHER)/requirements.txt torch==$(TORCH)
	$(OTHER)/bin/pip install --quiet --no-deps --force-reinstall target/wheels/*.whl
	VIRTUAL_ENV=$(CURDIR)/$(OTHER) PATH=$(CURDIR)/$(OTHER)/bin:$$PATH python -m pytest -m "not slow"

SEED ?= 0
fuzz: $(WHEEL)  ## Read 20,000 damaged files, of another SEED each time; an hour at most
	python tests/fuzz --files 20000 --seed $(SEED) --minutes 60 --processes $$(nproc)

# A folder of its own, so that the build of the wheel and this one do not throw each other's results away.
lint: $(WHEEL)  ## Check formatting, lints, types, the stub, docstrings, the import order and the interface to Python
	cargo fmt --check
	cargo clippy --locked --all-targets --features python --target-dir target/lint -- -D warnings
	ruff check
	ruff format --check
	mypy
	python -m mypy.stubtest backcast._core
	numpydoc lint $$(find python/backcast -name '[!_]*.py' -not -path '*/_*')
	python tests/lint/import_order.py
	@echo 'Only src/py may name pyo3 or numpy:'
	! grep -rn 'pyo3\|numpy' src --include='*.rs' | grep -v '^src/py/'

format: $(PACKAGES)  ## Format all code
	cargo fmt
	ruff check --fix
	ruff format

# zig links against an old glibc; the few lines of C++ are compiled by g++, since libtorch's C++ library is GNU's.
wheel: $(PACKAGES)  ## Build the wheel for distribution in dist, its debug symbols beside it
	pip install --quiet ziglang wheel
	rm -rf dist
	CXX_x86_64_unknown_linux_gnu=g++ maturin build --release --locked --zig --strip false \
		--target x86_64-unknown-linux-gnu --compatibility manylinux_2_28 --out dist/unstripped
	python -m wheel unpack --dest dist/unpacked dist/unstripped/*.whl
	objcopy --only-keep-debug dist/unpacked/*/backcast/_core.abi3.so dist/_core.abi3.so.debug
	strip --strip-unneeded dist/unpacked/*/backcast/_core.abi3.so
	objcopy --add-gnu-debuglink=dist/_core.abi3.so.debug dist/unpacked/*/backcast/_core.abi3.so
	python -m wheel pack --dest-dir dist dist/unpacked/*
	rm -r dist/unstripped dist/unpacked

# The tools live in the folder of this check: their dependencies are no business of .venv. torch and what it requires are lent.
CHECK := target/release-check
release-check: wheel  ## Build wheel and sdist, check both, run the README's examples in an empty environment
	maturin sdist --out dist
	rm -rf $(CHECK)
	pip install --quiet --target $(CHECK)/tools twine check-wheel-contents
	PYTHONPATH=$(CHECK)/tools python -m twine check --strict dist/*.whl dist/*.tar.gz
	PYTHONPATH=$(CHECK)/tools python -m check_wheel_contents dist/*.whl
	$(PYTHON) -m venv $(CHECK)/venv
	python tests/lint/borrow.py $(CHECK)/lent torch
	echo "$(CURDIR)/$(CHECK)/lent" > "$$(echo $(CHECK)/venv/lib/python3*/site-packages)/lent.pth"
	$(CHECK)/venv/bin/pip install --quiet "$$(echo dist/*.whl)[plot,video]" pandas scikit-video pytest pytest-timeout
	env -u VIRTUAL_ENV $(CHECK)/venv/bin/python -m pytest -p no:cacheprovider tests/python/test_readme.py -k examples

lock: $(VENV)/pyvenv.cfg  ## Pin the newest packages that pyproject.toml allows in requirements.lock
	pip install --quiet uv
	uv pip compile pyproject.toml --upgrade --universal --python-version 3.11 --extra plot --extra demo --group dev \
		--no-annotate --custom-compile-command 'make lock' --quiet --output-file requirements.lock
	uv pip compile pyproject.toml --upgrade --universal --python-version 3.11 --group bench --constraint requirements.lock \
		--no-annotate --custom-compile-command 'make lock' --quiet --output-file requirements-bench.lock
	uv pip compile pyproject.toml --upgrade --universal --python-version 3.11 --group docs --constraint requirements.lock \
		--no-annotate --custom-compile-command 'make lock' --quiet --output-file requirements-docs.lock

bench: $(WHEEL)  ## Measure the speed beside PyTorch's and JAX's; takes a while, and wants the machine for itself
	pip install --quiet --requirement requirements-bench.lock
	python tests/benches

bench-quality: $(WHEEL)  ## Measure anomaly scores and embeddings beside other packages'; about 12 minutes
	pip install --quiet --requirement requirements-bench.lock
	python tests/benches/quality.py

docs: $(WHEEL)  ## Build the guide and the reference as a site in target/docs; warnings are errors
	pip install --quiet --requirement requirements-docs.lock
	python -m sphinx -W --keep-going -q -d target/docs/trees notebooks target/docs/site

clean:  ## Remove everything that was made here
	rm -rf $(VENV) target dist out .mypy_cache .pytest_cache .ruff_cache

$(VENV)/pyvenv.cfg:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(PACKAGES): requirements.lock $(VENV)/pyvenv.cfg
	@echo 'Installing the pinned packages: some minutes, and about 5 GB for torch'
	pip install --quiet --requirement requirements.lock
	@touch $@

$(WHEEL): $(PACKAGES) $(SOURCES)
	rm -f target/wheels/*.whl
	maturin build --release --locked --out target/wheels
	pip install --quiet --no-deps --force-reinstall target/wheels/*.whl
	@touch $@
