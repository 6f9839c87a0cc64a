# Everything a developer needs, by one word. Each target is one line that can be typed without make; `prepare` checks
# for what a build needs (rustc, C compiler, cmake) and installs the Debian packages where it may.
CARGO ?= cargo

.PHONY: help demo build release test loom fuzz lifecycle chaos memory soak board instructions bench check fmt lint doc deny prepare page

help:            ## this list
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile | expand -t 14

demo: prepare    ## gateway and fake provider on loopback: talks to itself, then stays up
	$(CARGO) run --release --locked -- demo

build: prepare   ## the release binary, target/release/tollgate
	$(CARGO) build --release --locked

release: prepare ## the binary as it is handed out, arranged by a profile of real traffic: target/tuned/release/tollgate
	deploy/release/build

test: prepare    ## every test; no network, no root, no server needed
	$(CARGO) test --workspace --locked

loom: prepare    ## the limits' atomics, in every order in which threads may meet
	RUSTFLAGS="--cfg loom" CARGO_PROFILE_DEV_OPT_LEVEL=2 CARGO_PROFILE_DEV_DEBUG=false $(CARGO) test --package tollgate-loom --locked \
		--target-dir $${CARGO_TARGET_DIR:-target}/loom

fuzz: prepare    ## every fuzz target by coverage, ten minutes each (needs cargo-fuzz); SECONDS_EACH=3600 for more
	for target in $$($(CARGO) fuzz list); do mkdir -p fuzz/corpus/$$target; \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --sanitizer none --features libfuzzer $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-max_total_time=$${SECONDS_EACH:-600} -rss_limit_mb=1024 -timeout=10 -max_len=65536 || exit 1; done

lifecycle: prepare ## reloads, upgrades and a drain under load, and nobody notices
	loadtest/lifecycle --seconds 60

chaos: prepare   ## two minutes of upstreams that fail in every way, and everything accounted for
	loadtest/chaos --seconds 120

memory: build    ## what connections, slow readers and uploads cost, held to their gates
	loadtest/memory --gate

soak: build      ## two hours of chaos, and whether memory or descriptors grow
	loadtest/soak --seconds 7200

board: build     ## a real Prometheus and a gateway under load: every query of the board returns data (needs prometheus)
	deploy/prometheus/check --binary $${CARGO_TARGET_DIR:-target}/release/tollgate

instructions: prepare ## how many instructions the pure steps take, held against the committed figures (needs valgrind)
	$(CARGO) run --release --locked --package tollgate-measure --bin instructions
page: build      ## the status page in a real Chromium (needs node and chromium)
	tests/browser/run $${CARGO_TARGET_DIR:-target}/release/tollgate

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
