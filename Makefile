# Every way into the project. `make demo` and `make test` set the machine up by themselves; a second run takes seconds.
#   make demo    a small internet in namespaces, a real gateway, a million addresses and names listed
#   make test    cargo test, pytest (its closing line is the last)      make lint    formatters, linters, types
#                CLEARWAY_TESTS=all: every real client over every wire, every mutant
#   make setup   system packages, .venv, the extension                  make bench   what the figures come from
#   make bpf     compiles the kernel's programs                         make lock    renews requirements.lock
#   make wheel   one wheel in target/wheels                             make docs    renews the pages made from the code
#   make fuzz    each parser for ten minutes (FUZZ_SECONDS=600)

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:
.PHONY: setup packages toolchain demo test lint bpf bench fuzz lock wheel docs format

# Where the toolchain is, also when HOME is not set or the shell never read cargo's environment; sudo is handed the same.
export HOME := $(or $(HOME),$(shell getent passwd "$$(id -u)" | cut -d: -f6))
export CARGO_HOME ?= $(HOME)/.cargo
export RUSTUP_HOME ?= $(HOME)/.rustup
export PATH := $(PATH):$(CARGO_HOME)/bin
export VIRTUAL_ENV := $(CURDIR)/.venv
unexport PYTHONPATH PYTHONHOME
# A registry that fails for a moment is asked again.
export CARGO_NET_RETRY ?= 10
export UV_HTTP_RETRIES ?= 10
export UV_HTTP_TIMEOUT ?= 120
export PIP_RETRIES ?= 10
export PIP_DEFAULT_TIMEOUT ?= 60

BIN := .venv/bin
STAMPS := .venv/stamps
# The kernel's gate: what needs it runs as root, by sudo where one is not.
ROOT := $(if $(filter-out 0,$(shell id -u)),sudo env $(foreach v,PATH CARGO_HOME RUSTUP_HOME CI CLEARWAY_TESTS,$v="$${$v-}"))
# Root, or sudo that asks for nothing, or that has somebody to ask.
MAY_BE_ROOT = [ "$$(id -u)" -eq 0 ] || { command -v sudo >/dev/null && { sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; }; }; }
C_FILES := $(wildcard bpf/*.[ch] engine/bpf/*.[ch])
RUST_FILES := $(wildcard engine/*.rs engine/build/*.rs engine/src/*.rs \
	engine/inspector/Cargo.toml engine/inspector/src/*.rs engine/inspector/src/*/*.rs)

setup: $(STAMPS)/engine

packages:
	@setup/packages.sh
toolchain:
	@setup/toolchain.sh

$(STAMPS)/environment: requirements.lock setup/environment.sh | packages
	@setup/environment.sh
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/engine: $(STAMPS)/environment pyproject.toml Cargo.toml Cargo.lock engine/Cargo.toml $(C_FILES) $(RUST_FILES) | packages toolchain
	$(BIN)/maturin develop --release --locked --skip-install 2> >(grep -v 'Failed to set rpath' >&2)  # the system's do
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --no-index --editable .
	@$(ROOT) $(BIN)/clearway doctor >.venv/doctor || cat .venv/doctor >&2
	@touch $@

# Without root it is not the lab, but a replay, which says so.
demo: setup
	@if $(MAY_BE_ROOT); then $(ROOT) $(BIN)/clearway demo $(DEMO); else $(BIN)/clearway demo $(DEMO); fi

test: setup
	cargo test --locked --release --quiet --no-default-features
	$(ROOT) $(BIN)/python -m pytest --numprocesses 2 --dist loadscope $(PYTEST)

fuzz: | packages toolchain
	@engine/fuzz/run.sh $(FUZZ)

bench: setup
	$(ROOT) $(BIN)/clearway bench wire $(BENCH)

lint: setup
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	@for room in $(sort $(dir $(wildcard tests/*.py tests/*/*.py tests/*/*/*.py))); do MYPYPATH=src:tests:tests/oracle:$$room $(BIN)/mypy $$room/*.py || exit 1; done
	$(BIN)/clang-format --dry-run -Werror $(C_FILES)
	cargo fmt --check
	cargo clippy --locked --release --all-targets --quiet -- -D warnings

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i $(C_FILES)
	cargo fmt

bpf: | packages toolchain
	cargo check --locked --release

wheel: setup
	$(BIN)/maturin build --release --locked --out target/wheels

lock: $(STAMPS)/environment
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --no-emit-index-url --group dev \
		--all-extras --output-file requirements.lock pyproject.toml

docs: setup
	$(BIN)/python docs/make.py
