# Every target does its own set-up and says what it does.

SHELL := /bin/bash
.DEFAULT_GOAL := help
REDIS := sh -c 'apt-get update -qq; apt-get install -y redis-server'
.PHONY: help install demo demo-cluster run components redis promtool registry build test test-quick test-clients test-deploy sim sim-mutants soak-scale soak-kills soak-stalls test-languages gallery check check-all lint format bench bench-store bench-cluster bench-peers dist check-dist test-dist pictures site clean

COMPONENTS := target/components
GUESTS := klines-console klines-jsonl klines-webhook example-consumer average-guest hostile-guest ledger-guest past-guest rsi-example
GUEST_OUTPUT := target/guests/wasm32-wasip2/guest
# Whose path is in a component, such as in its panics, would make it another one on every machine.
GUEST_PATHS := --remap-path-prefix=$(CURDIR)=/klines --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-12s %s\n", $$1, $$2 }'

install: ## Add the WebAssembly target and fetch the dependencies
	@rustup target list --installed | grep -qx wasm32-wasip2 || { echo "adding the Rust target wasm32-wasip2"; rustup target add wasm32-wasip2; }
	cargo fetch --locked

# One that comes out as it was is left alone: what embeds it need not be built again. `.built` says that all are fresh.
components: ## Build the shipped consumers, the example and the test guests as WebAssembly components
	@rustup target list --installed | grep -qx wasm32-wasip2 || { echo "adding the Rust target wasm32-wasip2"; rustup target add wasm32-wasip2; }
	@echo "building the components into $(COMPONENTS)"
	@RUSTFLAGS="$(GUEST_PATHS)" cargo build --locked --quiet --profile guest --target wasm32-wasip2 --target-dir target/guests $(addprefix -p ,$(GUESTS))
	@mkdir -p $(COMPONENTS)
	@for pair in klines_console:console klines_jsonl:jsonl klines_webhook:webhook example_consumer:example \
			average_guest:average hostile_guest:hostile ledger_guest:ledger past_guest:past rsi_example:rsi; do \
		from=$(GUEST_OUTPUT)/$${pair%:*}.wasm to=$(COMPONENTS)/$${pair#*:}.wasm; \
		cmp -s $$from $$to || cp $$from $$to || exit 1; \
	done
	@touch $(COMPONENTS)/.built

build: components ## Build the klines command (target/release/klines)
	@echo "building klines (the first time takes some minutes)"
	KLINES_COMMIT="$$(packaging/commit)" cargo build --locked --release -p klines

demo: build ## Watch klines of a made-up market: no network, nothing else needed
	@echo "starting the demo: Ctrl-C ends it"
	@exec target/release/klines run --demo

run: build ## Run on live Bybit with .env and klines.toml, where there are any
	@exec target/release/klines run

# The tests of the redis consumer and its bench start servers of their own.
redis:
	@command -v redis-server >/dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "installing redis-server for the tests"; $(REDIS) >/dev/null; \
		elif sudo -n true 2>/dev/null && command -v apt-get >/dev/null; then \
			echo "installing redis-server for the tests"; sudo $(REDIS) >/dev/null; \
		else \
			echo "the tests need redis-server; type: sudo apt-get install -y redis-server (macOS: brew install redis)"; exit 1; \
		fi; }

# The alerts are judged by Prometheus and its own tool, which are taken out of their package; nothing is installed.
promtool:
	@{ command -v promtool && command -v prometheus; } >/dev/null || test -x target/prometheus || { \
		if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then \
			echo "fetching prometheus (19 MB) into target for the tests"; mkdir -p target/promtool.d && cd target/promtool.d && \
			{ apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; } >/dev/null 2>&1 && \
			dpkg-deb -x prometheus_*.deb . && mv usr/bin/promtool usr/bin/prometheus .. && cd .. && rm -r promtool.d; \
		else \
			echo "the tests need prometheus with promtool (macOS: brew install prometheus)"; exit 1; \
		fi; }

# The tests of sharing start registries of their own. Installed as a package, it would run as a service.
registry:
	@command -v docker-registry >/dev/null || test -x target/docker-registry || { \
		if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then \
			echo "fetching docker-registry (5 MB) into target for the tests"; mkdir -p target/registry.d && cd target/registry.d && \
			{ apt-get download -qq docker-registry || { apt-get update -qq && apt-get download -qq docker-registry; }; } >/dev/null 2>&1 && \
			dpkg-deb -x docker-registry_*.deb . && mv usr/bin/docker-registry .. && cd .. && rm -r registry.d; \
		else \
			echo "the tests need docker-registry, the program of https://github.com/distribution/distribution"; exit 1; \
		fi; }

test: components redis promtool registry ## Run every test
	@echo "running the tests"
	@if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --locked --workspace --no-fail-fast; \
	else \
		cargo test --locked --workspace; \
	fi
	cargo test --locked --workspace --doc

test-quick: components ## Run the unit tests alone: a minute once they are built
	@if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --locked --workspace --lib; \
	else \
		cargo test --locked --workspace --lib; \
	fi

test-clients: build ## Run other people's clients and the example ones, a browser, a TLS scanner, abuse and a minute of chaos against the server (about 4 minutes)
	@runtime/tests/clients/run.sh target/release/klines $(TESTS)
	$(if $(TESTS),,KLINES_CHAOS_SECONDS=60 cargo test --locked --workspace --test it chaos -- --nocapture)

test-deploy: build redis promtool ## Run the alerts and the dashboard of deploy/ in a real Prometheus against a run with faults (4 minutes; FACTOR=1 with the alerts' own durations, 40 minutes)
	@test -x target/deploy/bin/python || python3 -m venv target/deploy
	@target/deploy/bin/pip install --quiet --disable-pip-version-check -r runtime/tests/deploy/requirements.txt
	@target/deploy/bin/python -B runtime/tests/deploy/main.py target/release/klines "$$(command -v prometheus || realpath target/prometheus)" $(or $(FACTOR),20)

soak-scale: components redis ## Run a simulated exchange of 1,440 symbols at 14 intervals into five consumers for 10 minutes and account for every kline (SECONDS=600)
	KLINES_SCALE_SECONDS=$(or $(SECONDS),600) cargo test --locked -p klines --test it scale::program -- --nocapture

demo-cluster: build redis ## Run a cluster on this machine: Redis, a simulated exchange, three ingest nodes, two gateways, until Ctrl-C (PORT=9600 SECONDS=60)
	@deploy/cluster/demo.sh target/release/klines $(or $(PORT),9600) $(SECONDS)

gallery: build registry ## Publish the examples in a registry on this machine, list them in an index, and serve it until Ctrl-C (PORT=5050 EXAMPLES="rust go")
	@examples/gallery.sh target/release/klines $(or $(PORT),5050) $(EXAMPLES)

test-languages: build registry ## Make, build, test and run a consumer in every language, and the examples (about 10 minutes; KLINES_MIXED_SECONDS=600 for longer)
	@runtime/tests/languages/run.sh target/release/klines $(TESTS)

# Named together with klines, whose dependencies it then shares: alone it would need other features of them.
SIMULATION := cargo build --locked --quiet --release -p klines -p klines-simulation --bin klines-simulation

sim: ## Simulate whole runs and clusters, seed by seed, on every core: SEEDS=10000 from FIRST=0, or SEED=n alone with a trace
	@$(SIMULATION)
	@target/release/klines-simulation $(if $(SEED),$(SEED),$(or $(FIRST),0) $(or $(SEEDS),1000))

sim-mutants: ## Test the simulation itself: each of the deliberate mistakes has to be found within 1,000 seeds
	@$(SIMULATION) --features klines-simulation/mutants
	@target/release/klines-simulation mutants

soak-kills: components ## Kill a run 200 times while it stores klines, and check the store each time (about 10 minutes)
	KLINES_KILLS=200 cargo test --locked -p klines --test it nothing_that_was_committed -- --nocapture

soak-stalls: components ## Stop the program 100 times at boundaries, on one connection, on two with the same symbols and on three, and count klines that miss a trade (about 18 minutes)
	KLINES_STALLS=100 cargo test --locked -p klines --test it stalls:: -- --nocapture --test-threads 1

check: components ## Format, lints, documentation and, where cargo-deny is installed, licences, sources and advisories of the dependencies
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo check --locked --workspace --lib --features klines-wasm/derived-rows
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
	@if command -v cargo-deny >/dev/null; then cargo deny check bans licenses sources && .ci/advisories; else echo "cargo-deny is not installed: licences, sources and advisories were not looked at (cargo install cargo-deny --locked)"; fi

check-all: check test ## Everything that has to pass before a change is taken

lint: components ## Lints alone
	cargo clippy --locked --workspace --all-targets -- -D warnings

format: ## Format the code
	cargo fmt --all

bench: build redis ## Measure what a user sees and the parts, in two tables, each figure next to a baseline (about 12 minutes)
	@python3 runtime/benches/replay.py target/release/klines
	@cargo bench --locked --quiet -p klines --bench figures -- --continued

# Everything that is installed stays in target/peers. The crate has a workspace of its own.
PEERS := target/peers
bench-store: ## Measure the store beside one row a kline in SQLite (two minutes)
	@cargo bench --locked --quiet -p klines-store --bench store

bench-cluster: redis ## Measure what writing klines costs a Redis, beside a plain XADD (seconds once it is built)
	@cargo bench --locked --quiet -p klines-cluster --bench append

bench-peers: build ## Install DuckDB, Polars and the crate trade_aggregation in target/peers and compare replays with them
	@test -x $(PEERS)/venv/bin/python || python3 -m venv $(PEERS)/venv
	@$(PEERS)/venv/bin/pip install --quiet --disable-pip-version-check -r runtime/benches/peers/requirements.txt
	@cargo build --locked --quiet --release --manifest-path runtime/benches/peers/trade_aggregation/Cargo.toml --target-dir $(PEERS)/trade_aggregation
	@python3 runtime/benches/replay.py target/release/klines

# Tools and results stay below target; only buildah, and podman for the tests, are installed.
dist: components ## Make what is handed out, in target/dist: archives, wheels, Debian packages and images for x86-64 and arm64 (40 minutes; MACHINES=x86_64 for one)
	@packaging/dist.sh $(MACHINES)

check-dist: ## Check the packages as far as that is possible without building them: versions, metadata, the unit (TAG=v0.1.0 before a release)
	@packaging/check.py "$$TAG"

test-dist: ## Install what `make dist` has made in clean places, and run the demo, a client and a stop there (2 minutes once the clean Debian is made; TESTS=deb for one)
	@packaging/test/run.sh $(TESTS)

pictures: build ## Draw the pictures of the README again: docs/images/terminal.svg and chart.png (about 3 minutes)
	@runtime/tests/clients/run.sh target/release/klines chart.modules
	node runtime/tests/clients/pictures.mjs target/release/klines

MDBOOK_VERSION := 0.5.4
MDBOOK := target/tools/mdbook-$(MDBOOK_VERSION)
# Without optimisation and information for debuggers: it is built more often than it is waited for.
$(MDBOOK)/bin/mdbook:
	@echo "building mdbook $(MDBOOK_VERSION) into target/tools for the site (a minute)"
	@CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 cargo install mdbook --version $(MDBOOK_VERSION) --locked --quiet --debug \
		--no-default-features --features search --no-track --root $(MDBOOK) --target-dir $(MDBOOK)/build
	@rm -r $(MDBOOK)/build

site: $(MDBOOK)/bin/mdbook ## Build the documentation as a site, target/site/html, and check every link in it and in the Markdown files
	@python3 -B docs/site/pages.py target/site
	@$(MDBOOK)/bin/mdbook build target/site
	@python3 -B docs/site/links.py target/site/html

clean: ## Remove everything that was built
	cargo clean

.PHONY: ci-demo
# The first thing that a newcomer types, ended by itself: it has to show a closed kline.
ci-demo: build
	target/release/klines run --demo --for 10s | tee target/demo.txt
	grep -q '✓' target/demo.txt
