# vimd: thin rules over CMake; `make help` tells them. Each installs the Debian packages that it
# needs (scripts/install-packages; VIMD_INSTALL=no leaves that out).
.POSIX:
.SUFFIXES:
.PHONY: build release demo test test-chaos test-openstack test-deploy test-swarm-scaling test-processes-scaling test-sanitizers fuzz bench bench-calls bench-graph bench-testbed bench-faults install clean format help

JOBS ?= $(shell nproc)
FUZZ_MINUTES ?= 10
PREFIX ?= /usr/local
FUZZERS ?=
CHAOS_SEED ?= $(shell date +%N)
CHAOS_FAULTS ?= 300
CHAOS_TASKS ?= 5000
BENCHES ?=

build: ## (default) development build of all but the tests, in build/dev
	@scripts/install-packages --for build
	@cmake --preset dev -DBUILD_TESTING=OFF >/dev/null
	@cmake --build --preset dev -j $(JOBS)

release: ## optimised and hardened build, in build/release
	@scripts/install-packages --for build
	@cmake --preset release -DBUILD_TESTING=OFF -DCMAKE_INSTALL_PREFIX=$(PREFIX) >/dev/null
	@cmake --build --preset release -j $(JOBS)

demo: ## build, start vimd with the mock infrastructure, see it work, then play with it
	@scripts/install-packages --for demo
	@$(MAKE) --no-print-directory release
	@scripts/demo build/release

test: ## everything that needs no cloud: units, headers and ABI, plugin conformance, scenes, corpora
	@scripts/install-packages --for test
	@scripts/run-tests dev

test-chaos: ## nine processes, PostgreSQL and Redis under CHAOS_FAULTS=300 faults and CHAOS_TASKS=5000 tasks (CHAOS_SEED=N)
	@scripts/install-packages --for test
	@cmake --preset dev >/dev/null
	@cmake --build --preset dev -j $(JOBS)
	@VIMD_BUILD=$(CURDIR)/build/dev VIMD_TEST_SEED=$(CHAOS_SEED) VIMD_CHAOS_FAULTS=$(CHAOS_FAULTS) \
	    VIMD_CHAOS_TASKS=$(CHAOS_TASKS) python3 -B tests/scene/test_chaos.py

test-openstack: ## the driver and the daemon against a real OpenStack, brought up on loopback
	@scripts/install-packages --for test
	@cmake --preset dev >/dev/null
	@cmake --build --preset dev -j $(JOBS)
	@scripts/test-openstack build/dev

test-deploy: ## what deploy/ has: the manifests of Kubernetes, and the stack on a real Docker Swarm
	@scripts/install-packages --for deploy
	@$(MAKE) --no-print-directory release
	@tests/kubernetes/check
	@tests/swarm/run build/release

test-swarm-scaling: ## vimd's stack on a real Docker Swarm scales itself under a load that rises and falls, in six minutes
	@scripts/install-packages --for deploy --for bench
	@$(MAKE) --no-print-directory release
	@tests/swarm/scaling build/release

test-processes-scaling: ## vimd scales its logic and PostgreSQL's readers on processes of this machine, under the same load (root; two minutes)
	@scripts/install-packages --for bench
	@$(MAKE) --no-print-directory release
	@tests/scaling/processes build/release

test-sanitizers: ## units, conformance and scenes under ASan+UBSan, TSan and valgrind
	@scripts/install-packages --for sanitizers
	@scripts/test-sanitizers

fuzz: ## each fuzzer for FUZZ_MINUTES=10 (FUZZERS="fuzz_yaml ..." for some of them)
	@scripts/install-packages --for fuzz
	@FUZZ_MINUTES=$(FUZZ_MINUTES) scripts/fuzz $(FUZZERS)

bench: ## side-by-side measurements (BENCHES="get post ..." for some of them)
	@scripts/install-packages --for bench
	@$(MAKE) --no-print-directory release
	@bench/run $(BENCHES)

bench-calls: ## what a network service costs in calls, against 2n^2 + 4m^2: a table, a CSV, a picture
	@scripts/install-packages --for bench
	@$(MAKE) --no-print-directory release
	@bench/calls.py

bench-graph: ## what a node of a network service costs, from 50 to 5 000 nodes, and a service of 500 VNFs
	@scripts/install-packages --for bench
	@$(MAKE) --no-print-directory release
	@bench/graph.py

bench-testbed: ## throughput of the real vimd against logic and database replicas, as in the paper's figures (root)
	@scripts/install-packages --for bench
	@$(MAKE) --no-print-directory release
	@bench/testbed.py

bench-faults: ## labelled faults on the real vimd: which block or hop each scaling policy names (root; 40 min)
	@scripts/install-packages --for bench
	@$(MAKE) --no-print-directory release
	@bench/faults.py $(FAULTS)

bench-scaling: ## scaling policies on simulated services: the table S1 to S13 and its figures
	@scripts/install-packages --for bench
	@$(MAKE) --no-print-directory release
	@bench/scaling

install: release ## install the release build below PREFIX=/usr/local (DESTDIR works)
	@cmake --install build/release

format: ## lay out all C and C++ as .clang-format says
	@scripts/install-packages --for format
	@git ls-files '*.c' '*.h' '*.cpp' | xargs clang-format-14 -i

clean: ## remove what was built
	@rm -rf build

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/    make \1 \t\2/p' Makefile | expand -t 28
