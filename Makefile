# The front door. Each target works as the first command typed on a minimal Debian 12 with git, make and sudo.
BUILD ?= build
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
CHAOS ?= 1000
LONG_BODY ?= 10240
FUZZ_SECONDS ?= 30
TIDY ?= $(shell git diff --name-only --diff-filter=d HEAD -- '*.cc')
CACHE = $(or $(TAPDECK_TEST_CACHE),/var/cache/tapdeck-test)
CTEST = cd $(BUILD) && ctest --output-on-failure --no-tests=error $(CTEST_FLAGS)

.PHONY: help build demo test bench profile chaos long-body fuzz lint tidy format install uninstall packages-build packages-demo packages-test configure daemon clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20
	@echo "Root is needed for demo, test, bench, profile, chaos, long-body, install, uninstall, and for whatever has to install Debian packages first."

packages-build:
	@.ci/install-packages build

packages-demo:
	@.ci/install-packages build demo

packages-test:
	@.ci/install-packages build demo test

configure: packages-build
	@.ci/need-own-tree $(BUILD) $(MAKECMDGOALS)
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_INSTALL_PREFIX=$(PREFIX) >$(BUILD).configure.log 2>&1 \
	  || { cat $(BUILD).configure.log; rm -f $(BUILD).configure.log; exit 1; }
	@rm -f $(BUILD).configure.log

build: configure ## compile everything; leaves build/tapdeck
	@ninja -C $(BUILD) -j $(JOBS)

daemon: configure ## compile the daemon alone, without its tests
	@ninja -C $(BUILD) -j $(JOBS) tapdeck

demo: ## record a real container's HTTPS call, switch the origin off, replay it
	@.ci/need-root demo
	@$(MAKE) --no-print-directory packages-demo daemon
	@netns-tests/demo/demo $(abspath $(BUILD))

test: ## every test: lints, unit tests, then the network namespace tests
	@.ci/need-root test
	@$(MAKE) --no-print-directory packages-test build
	@$(CTEST) -j $(JOBS)

bench: ## the same work against nginx, HAProxy and mitmproxy on pinned cores; prints ratios (BENCH=--quick)
	@.ci/need-root bench
	@$(MAKE) --no-print-directory packages-test build
	@ninja -C $(BUILD) -j $(JOBS) lookup_bench
	@netns-tests/bench/bench $(abspath $(BUILD)) $(BENCH)

profile: ## record anew what builds are optimised by, under the load of the bench (cmake/tapdeck.profdata, to be committed)
	@.ci/need-root profile
	@$(MAKE) --no-print-directory packages-test
	@cmake -S . -B $(BUILD)-profile -G Ninja -DTAPDECK_PROFILE=generate >/dev/null
	@ninja -C $(BUILD)-profile -j $(JOBS) tapdeck bench_probe lookup_bench
	@rm -rf $(BUILD)-profile/profile
	@netns-tests/bench/bench $(abspath $(BUILD)-profile) --quick
	@llvm-profdata-19 merge -sparse -o cmake/tapdeck.profdata $(BUILD)-profile/profile

chaos: ## the chaos scenarios, each bad thing CHAOS times (1000) instead of the 20 of make test
	@.ci/need-root chaos
	@$(MAKE) --no-print-directory packages-test build
	@TAPDECK_CHAOS_REPEAT=$(CHAOS) $(BUILD)/netns-tests/netns_test --gtest_filter='*Chaos*'

long-body: ## LONG_BODY MiB (10240) through record and back: memory stays within 64 MiB of idle; needs as much disk
	@.ci/need-root long-body
	@$(MAKE) --no-print-directory packages-test build
	@TAPDECK_LONG_BODY_MIB=$(LONG_BODY) $(BUILD)/netns-tests/netns_test --gtest_filter='Bounds.ALongBody*'

fuzz: packages-test ## each libFuzzer target for FUZZ_SECONDS (30) from its corpus; finds are left in build-fuzz/found
	@cmake -S . -B $(BUILD)-fuzz -G Ninja -DTAPDECK_FUZZ=ON -DTAPDECK_PROFILE=off -DTAPDECK_TESTS=OFF >/dev/null
	@.ci/fuzz $(BUILD)-fuzz $(FUZZ_SECONDS) $(JOBS)

lint: packages-test configure ## include directions, formatting, file budgets, missing tests, undocumented metrics
	@$(CTEST) -L lint

tidy: packages-test configure ## clang-tidy over the C++ sources that differ from the last commit (TIDY="FILE..." for others)
	@[ -z "$(strip $(TIDY))" ] || clang-tidy-19 -p $(BUILD) --quiet $(TIDY)

format: packages-test ## clang-format every C++ and BPF source in place
	@git ls-files '*.cc' '*.h' '*.c' | xargs clang-format-19 -i

install: ## install the binary, systemd unit, sysusers and tmpfiles under PREFIX
	@mkdir -p "$(DESTDIR)$(PREFIX)" 2>/dev/null; [ -w "$(DESTDIR)$(PREFIX)" ] \
	  || .ci/need-root "$(strip install $(MAKEOVERRIDES))" "to write into $(DESTDIR)$(PREFIX)"
	@$(MAKE) --no-print-directory daemon
	@DESTDIR="$(DESTDIR)" cmake --install $(BUILD) --prefix "$(PREFIX)"
	@.ci/after-install "$(DESTDIR)"

uninstall: ## remove what install put there (state and CA stay)
	@DESTDIR="$(DESTDIR)" .ci/uninstall $(BUILD)

clean: ## remove the build directory (not the root file systems of demo and test in /var/cache/tapdeck-test)
	@.ci/need-own-tree $(BUILD) clean
	rm -rf $(BUILD)
	@[ ! -d $(CACHE) ] || echo "kept for the next demo or test: $(CACHE), $$(du -sh $(CACHE) 2>/dev/null | cut -f1); to remove it: sudo rm -rf $(CACHE)"
