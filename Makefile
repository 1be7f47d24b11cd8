# What can be done here: `make` alone prints the list.

CARGO ?= cargo
PREFIX ?= /usr/local
# Arguments of `make run`, as in: make run ARGS="[::1]:7007 -v"
ARGS ?=
# How long `make fuzz` searches in each of its targets.
FUZZ_SECONDS ?= 600
FUZZ_TARGETS ?= scanner conversation options
# Counters at all edges, and looks at comparisons: what libFuzzer goes by.
FUZZ_FLAGS = --cfg fuzzing -Cpasses=sancov-module $(addprefix -Cllvm-args=-sanitizer-coverage-, \
	level=4 inline-8bit-counters pc-table trace-compares)
# The comparison is a package of its own.
COMPARE = --locked --manifest-path tests/compare/Cargo.toml --target-dir target/compare-build
SYNCHAT = $${CARGO_TARGET_DIR:-target}/release/synchat
TARGET ?= $(shell rustc -vV | sed -n 's/^host: //p')

.DEFAULT_GOAL := help
.PHONY: help run check test test-heavy lint doc bench compare compare-deps compare-test static install uninstall golden fuzz clean

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.* ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: ## build, and serve an echo on 127.0.0.1:7007
	@# Not --quiet: the first build takes a while, and cargo says at once what it does.
	$(CARGO) run --release --locked -- $(ARGS)

check: ## format, lints and fast tests: run it before each commit
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --test heavy -- -D warnings
	$(CARGO) clippy --locked --all-targets --no-default-features -- -D warnings
	$(CARGO) test --locked --quiet --lib --bins
	$(CARGO) test --locked --quiet --test it -- framing:: output:: golden:: house_rules:: command_line::

test: ## run all tests; needs a Rust toolchain and nothing else
	$(CARGO) test --locked
	$(CARGO) test --locked --no-default-features --lib

test-heavy: ## run the tests that need root; installs the tools that are missing, from Debian
	tests/heavy/tools.sh
	$(CARGO) check --locked --manifest-path tests/fuzz/Cargo.toml --target-dir target/fuzz
	$(CARGO) test --locked --test heavy -- --test-threads=2

lint: ## check the format, and deny all warnings, with and without the command line
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --test heavy -- -D warnings
	$(CARGO) clippy --locked --all-targets --no-default-features -- -D warnings
	$(CARGO) fmt --check --manifest-path tests/compare/Cargo.toml
	$(CARGO) clippy --release $(COMPARE) --all-targets -- -D warnings
	$(CARGO) fmt --check --manifest-path tests/fuzz/Cargo.toml
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --no-default-features

doc: ## build the library's documentation
	$(CARGO) doc --locked --no-deps --lib

bench: ## measure the scanner and the conversation in memory
	$(CARGO) bench --locked --bench scanner

compare: ## measure beside other servers, and report: QUICK=1 is short, ADDR=host:port is one more server
	$(CARGO) build --release --locked
	$(CARGO) build --release $(COMPARE)
	target/compare-build/release/compare run --synchat $(SYNCHAT) \
		$(if $(QUICK),--plan quick) $(if $(ADDR),--address $(ADDR)) $(ARGS)

compare-deps: ## install what `make compare` and its tests can use, from Debian and PyPI, as root
	tests/compare/deps.sh target/compare/venv

compare-test: ## run the comparison's own tests; needs what compare-deps installs
	$(CARGO) build --release --locked
	SYNCHAT="$$(realpath $(SYNCHAT))" $(CARGO) test --release $(COMPARE) -- --test-threads=4

static: ## build a binary that needs no library and no other file
	RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build --release --locked --target $(TARGET)
	@ls -l $${CARGO_TARGET_DIR:-target}/$(TARGET)/release/synchat

# The files that `make install` makes, below PREFIX.
UNIT_DIR = lib/systemd/system
MAN_DIR = share/man/man1
BASH_DIR = share/bash-completion/completions
ZSH_DIR = share/zsh/site-functions
FISH_DIR = share/fish/vendor_completions.d
INSTALLED = bin/synchat $(UNIT_DIR)/synchat.service $(MAN_DIR)/synchat.1 \
	$(BASH_DIR)/synchat $(ZSH_DIR)/_synchat $(FISH_DIR)/synchat.fish

install: ## build, and install to PREFIX, by default /usr/local; DESTDIR=… for a package
	@# Cargo says where the binary is: CARGO_TARGET_DIR and several settings of its can move it.
	@set -e; root="$(DESTDIR)$(PREFIX)"; \
	built=$$($(CARGO) build --release --locked --message-format=json-render-diagnostics); \
	binary=$$(printf '%s\n' "$$built" | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1); \
	test -x "$$binary" || { echo "cargo named no binary" >&2; exit 1; }; \
	for file in $(INSTALLED); do install -d "$$root/$${file%/*}"; done; \
	install -m 755 "$$binary" "$$root/bin/synchat"; \
	sed 's|/usr/local/bin/|$(PREFIX)/bin/|' tests/deploy/synchat.service >"$$root/$(UNIT_DIR)/synchat.service"; \
	"$$binary" --generate man >"$$root/$(MAN_DIR)/synchat.1"; \
	"$$binary" --generate bash >"$$root/$(BASH_DIR)/synchat"; \
	"$$binary" --generate zsh >"$$root/$(ZSH_DIR)/_synchat"; \
	"$$binary" --generate fish >"$$root/$(FISH_DIR)/synchat.fish"; \
	for file in $(INSTALLED); do echo "installed $$root/$$file"; done; \
	cd "$$root"; chmod 644 $(filter-out bin/synchat,$(INSTALLED))

uninstall: ## remove the files that `make install` made; give the same PREFIX and DESTDIR
	@for file in $(INSTALLED); do rm -f "$(DESTDIR)$(PREFIX)/$$file"; done

golden: ## record asynchat's traces anew; needs Python 3.11
	python3 tests/golden/record.py

fuzz: ## search for inputs that break a promise, FUZZ_SECONDS=600 in each target; needs a C++ compiler
	@# With an explicit target the flags do not reach build scripts and macros.
	RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --release --locked --manifest-path tests/fuzz/Cargo.toml \
		--target $(TARGET) --target-dir target/fuzz
	@failed=0; for name in $(FUZZ_TARGETS); do \
		tests/fuzz/run.sh target/fuzz/$(TARGET)/release/$$name $(FUZZ_SECONDS) || failed=1; \
	done; exit $$failed

clean: ## remove all that was built
	$(CARGO) clean
