# Everything a developer needs, by one word. Each target is one line that can be typed without make; `prepare` checks
# for what a build needs (rustc, C compiler, cmake) and installs the Debian packages where it may.
CARGO ?= cargo

.PHONY: help demo build test loom lifecycle chaos bench check fmt lint doc deny prepare

help:            ## this list
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile | expand -t 14

demo: prepare    ## gateway and fake provider on loopback: talks to itself, then stays up
	$(CARGO) run --release --locked -- demo

build: prepare   ## the release binary, target/release/tollgate
	$(CARGO) build --release --locked

test: prepare    ## every test; no network, no root, no server needed
	$(CARGO) test --workspace --locked

loom: prepare    ## the limits' atomics, in every order in which threads may meet
	RUSTFLAGS="--cfg loom" CARGO_PROFILE_DEV_OPT_LEVEL=2 CARGO_PROFILE_DEV_DEBUG=false $(CARGO) test --package tollgate-loom --locked \
		--target-dir $${CARGO_TARGET_DIR:-target}/loom

lifecycle: prepare ## reloads, upgrades and a drain under load, and nobody notices
	loadtest/lifecycle --seconds 60

chaos: prepare   ## two minutes of upstreams that fail in every way, and everything accounted for
	loadtest/chaos --seconds 120

bench: prepare   ## micro-benchmarks of the pure parts
	$(CARGO) bench --workspace --locked

check: fmt lint doc test deny ## what a change must pass

fmt:             ## formatting
	$(CARGO) fmt --all --check

lint: prepare    ## clippy, no warning allowed
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

doc: prepare     ## the API's documentation, no warning allowed
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

deny:            ## licences, sources and banned crates, where cargo-deny is installed
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --locked check bans licenses sources; \
	else echo "deny: skipped, cargo-deny is not installed (cargo install cargo-deny --locked)"; fi

prepare:
	@.ci/prepare
