# What people type. Everything else is cargo.

.PHONY: demo demo-yarn test test-full bench cluster-up cluster-down build lint

VENV := target/venv
PYTHON := $(CURDIR)/$(VENV)/bin/python
BIN := target/release

## The main job on this machine: builds, fetches the flights, trains, scores.
demo: build $(VENV)/ready
	./examples/flights/demo local $(BIN) $(PYTHON)

## The same job file on a Hadoop cluster of this machine.
demo-yarn: build $(VENV)/ready
	./examples/flights/demo yarn $(BIN) $(PYTHON)

## Every test, on real daemons. DEMO=0 leaves the two demos out.
test: $(VENV)/ready
	./integration/run-tests

test-full: test

build:
	cargo build --release --locked

lint:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	./integration/check-purity

## A Hadoop cluster for people; prints the line to export.
cluster-up:
	@cargo run --quiet --locked -p yarn-ml-integration --bin cluster -- up

cluster-down:
	@cargo run --quiet --locked -p yarn-ml-integration --bin cluster -- down

# TensorFlow, for the examples and the tests. Users of yarn-ml bring their own.
$(VENV)/ready: python/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r python/requirements.txt
	touch $@
