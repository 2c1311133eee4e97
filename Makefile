# Everything a fresh Debian machine with a Rust toolchain needs: each target installs what it lacks (as root, or with sudo), builds, and runs.
#
#   make demo    the main job as a story
#   make demo-optimistic    the same in optimistic mode
#   make test    every test
#   make lint    formatting, clippy, documentation
#   make bench   figures
#
# One profile (dev) for everything but the figures, so that nothing is built twice.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup build demo demo-optimistic up test lint bench

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
BIN := $(TARGET_DIR)/debug

help:
	@sed -n 's/^#   make/make/p' Makefile

# Programs and the Debian packages they are in: a linker and protoc are needed to build, etcd and MariaDB to run.
setup:
	@need=(); \
	has() { PATH="$$PATH:/usr/sbin:/sbin" command -v "$$1" >/dev/null; }; \
	has cc || need+=(gcc libc6-dev); \
	{ has protoc && [ -e /usr/include/google/protobuf/empty.proto ]; } || need+=(protobuf-compiler libprotobuf-dev); \
	has etcd || need+=(etcd-server); \
	{ has mariadbd && has mariadb-install-db; } || need+=(mariadb-server); \
	if [ $${#need[@]} -gt 0 ]; then \
	  echo "Installing $${need[*]}"; \
	  as_root=(); \
	  if [ "$$(id -u)" != 0 ]; then \
	    command -v sudo >/dev/null || { echo "Missing: $${need[*]}; install these Debian packages as root" >&2; exit 1; }; \
	    as_root=(sudo); \
	  fi; \
	  "$${as_root[@]}" apt-get update -q; \
	  "$${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$${need[@]}"; \
	fi
	@command -v $(CARGO) >/dev/null || { echo "cargo is missing; see https://rustup.rs" >&2; exit 1; }

build: setup
	$(CARGO) build --workspace --bins

demo: build
	$(BIN)/playground demo $(ARGS)

demo-optimistic: build
	$(BIN)/playground demo --optimistic $(ARGS)

up: build
	$(BIN)/playground up $(ARGS)

# The test programs and the programs that they start are built with the same features, in one go.
test: setup
	$(CARGO) build --workspace --all-targets
	PLAYGROUND_BIN_DIR=$(BIN) $(CARGO) test --workspace

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

bench: setup
	$(CARGO) build --release -p bench -p election-svc -p scheduler-svc -p pessimist-svc -p optimist-svc
	$(TARGET_DIR)/release/bench self $(ARGS)
	$(CARGO) bench -p bench --bench fold
