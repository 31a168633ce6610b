# make demo    set up, then run the function on an embedded mobile network and show what it sees
# make test    set up, then run all tests
# make check   lint, types, layers, YANG, C format
# make coverage branches that the tests of protocols, feed and pure rooms reach, with a floor
# make truth   labelled sets of real players, calls, pages and games (lab/truth), by Chromium, ffmpeg and players of npm; LIST=judge, TRUTH=folder
# make fuzz    N=1000000 packets, payloads, signalling messages and rows through kernel, parsers, codecs and passes, a run of the lab; LISTS=10000 lists of rules of access, EDITS=100000 edit-configs; SEED= others
# make soak    minutes of full load, an hour with a full flow table, ten minutes of signalling with loss and restarts, thousands of peers that mean ill
# make degraded one subscriber of ten with each impairment in turn, and what the bus says of all ten; ONLY=delay for some (7 minutes)
# make bench   figures of speed and memory with their goals, peers among them; DOCS=1 also writes them into docs/
# make deploy-test what orchestrators get, by their own engines: templates of OpenStack, packages of ETSI NFV and others; TESTS=tests/stacks/test_x.py for one
# make history-test questions on DuckDB, on two ClickHouse servers and on Spark, with equal rows; a sink whose servers are killed; alerts by promtool, a Prometheus that scrapes; the page in Chromium
# make service-test the unit under systemd itself in a minimal Debian: start, hang, kill, update and downgrade under traffic, refusals, a tenth of a processor
# make kernels the programs on Debian's kernels 6.1 and 6.12, emulated, and on this one; ONLY=6.1, 6.12 or here
# make oci     a container image from that package, as an OCI archive, into dist/; PACKAGE= for a package that is there; COLLECTOR=1
# make fresh   both of the first two inside a minimal Debian made for the purpose
# make loaded  demo three times, test and bench once, beside six busy loops on two CPUs; ONLY=demo for a part
# make deb     the Debian package, into dist/; VERSION=, TREE= for another version or checkout; COLLECTOR=1 for that of the collector
# make package-test  two builds of the package, and that of the collector, in a minimal Debian: install, configure, upgrade, downgrade, remove, purge; KEEP=folder
# make image   the disk of a virtual machine with the package in it, into dist/; KERNEL=6.12 for the newer kernel
# make image-test the image with both kernels, booted from its disk in QEMU, configured, fed, upgraded, started again; its Vagrant box; ONLY=6.1, 6.12 or box
# make pins    resolve the versions of constraints/ anew

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON := /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

APT := python3-bpfcc python3-seccomp python3-venv python3-dev libyang2-dev gcc libc6-dev make iproute2 ethtool iputils-ping tshark bpftool util-linux git faketime tcpdump tmux openssl openssh-client python3-yaml \
       netconfd yangcli systemd cpulimit
APT_CHECK := clang-format
# All tests share the processors, a file at a time: what a file's tests share is made once. A part runs in one process.
# There is one process more than processors, four at most: some tests wait.
TOGETHER := -n $(shell n=$$(nproc); echo $$((n < 4 ? n + 1 : 4))) --dist loadfile
# Percent of lines and branches: what the tests reached when it was set, rounded down.
COVERED := 93
# The lab of truth: a browser, an encoder, a web server and the package manager of players; nothing else needs them.
APT_TRUTH := chromium ffmpeg $(if $(shell command -v npm),,nodejs npm)
TRUTH := /var/cache/snf-truth/sets
APT_KERNELS := qemu-system-x86
APT_HISTORY := chromium clickhouse-server prometheus openjdk-17-jre-headless
APT_IMAGE := $(APT_KERNELS) qemu-utils dosfstools mtools ovmf

.PHONY: help demo test history-test deploy-test service-test coverage check bench accuracy fuzz soak degraded truth kernels setup doctor fresh loaded deb package-test image image-test oci pins clean
help:
	@sed -n 's/^# make/make/p' Makefile

# The stamp holds the folder that the environment was made in: a moved checkout is set up anew.
$(VENV)/.ready: pyproject.toml constraints/all.txt constraints/build.txt $(if $(filter $(CURDIR),$(file <$(VENV)/.ready)),,moved)
	@scripts/setup $(VENV)

.PHONY: moved
moved:

# The compiled passes; without a compiler there is no file, and numpy does their work.
PASSES := nf/fast/columns.so
$(PASSES): nf/fast/columns.c $(wildcard nf/fast/*.h bpf/abi*.h) nf/fast/build.py
	@$(BIN)/python -m nf.fast.build

setup:
	@scripts/require-root
	@scripts/require-kernel
	@scripts/setup --apt-only $(APT)
	@$(MAKE) --silent $(VENV)/.ready
	@$(MAKE) --silent $(PASSES)

doctor: setup
	@$(BIN)/python -m nf.doctor

demo: doctor
	@$(BIN)/python -m lab.demo

test: doctor
	@$(BIN)/python -m pytest $(or $(TESTS),$(TOGETHER))

# Validators come by scripts/validators, each with its first test that asks for it.
deploy-test: doctor
	@$(BIN)/python -m pytest $(or $(TESTS),tests/stacks)

# Engines beside the files: their packages are for this alone, Spark comes by scripts/validators with its first test.
history-test: doctor
	@scripts/setup --apt-only $(APT_HISTORY)
	@$(BIN)/python -m pytest $(or $(TESTS),tests/history_heavy)

# The root is made once, by deploy/base.
service-test: doctor
	@$(BIN)/python -m pytest -s $(or $(TESTS),tests/machines)

# What is tested with plain values and bytes; `coverage` in pyproject.toml names the sources.
PURE := $(wildcard tests/apps tests/feed tests/flows tests/gtp tests/naming tests/publish tests/qoe tests/sessions tests/signalling tests/subscribers)
coverage: doctor
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q $(TOGETHER) $(PURE)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --fail-under $(COVERED)

soak: doctor
	@$(BIN)/python -m pytest -s tests/soak tests/mgmt/interop/soak
	@SNF_TRUNCATIONS=100000 SNF_FLOOD=3000 SNF_FLOOD_BYTES=104857600 SNF_NOISES=3000 SNF_LOGINS=10000 SNF_LOGINS_S=900 \
		$(BIN)/python -m pytest -s --timeout 1800 tests/mgmt/test_wire_faults.py tests/mgmt/test_login.py
	@$(BIN)/python -m lab.soak $(ARGS)
	@$(BIN)/python -m lab.soak --fourth $(ARGS)

degraded: doctor
	@$(BIN)/python -m lab.degraded $(if $(ONLY),--only "$(ONLY)")

bench: doctor
	@$(BIN)/python -m bench $(if $(DOCS),--docs)

accuracy: doctor
	@$(BIN)/python -m bench.accuracy
	@$(BIN)/python -m bench.behaviour
	@$(BIN)/python -m bench.crowd
	@$(BIN)/python -m bench.roundtrips
	@SNF_TRUTH_SETS=$(or $(SNF_TRUTH_SETS),$(TRUTH)) $(BIN)/python -m bench.truth

check: setup
	@scripts/setup --apt-only $(APT_CHECK)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pyang --strict --path yang:yang/ietf yang/*.yang
	clang-format --dry-run --Werror bpf/*.[ch] nf/fast/*.[ch]

fuzz: doctor
	@$(BIN)/python -m tests.apps.fuzz --payloads $(or $(N),1000000) --seed $(or $(SEED),29281)
	@$(BIN)/python -m tests.kernel.fuzz --packets $(or $(N),1000000) --seed $(or $(SEED),29281)
	@$(BIN)/python -m tests.gtp.fuzz --messages $(or $(MESSAGES),100000) --mutations $(or $(N),1000000) --seed $(or $(SEED),29244)
	@$(BIN)/python -m tests.fast.fuzz --rows $(or $(N),1000000) --seed $(or $(SEED),29281)
	@$(BIN)/python -m tests.mgmt.fuzz_nacm --lists $(or $(LISTS),10000) --seed $(or $(SEED),8341)
	@$(BIN)/python -m tests.fast.lab_intervals
	@$(BIN)/python -m tests.mgmt.fuzz_edits --edits $(or $(EDITS),100000) --seed $(or $(SEED),6241)

truth: doctor
	@scripts/setup --apt-only $(APT_TRUTH)
	@$(BIN)/python -m lab.truth make $(or $(LIST),fit) --out $(TRUTH)/$(or $(LIST),fit)

kernels: doctor
	@scripts/setup --apt-only $(APT_KERNELS)
	@$(BIN)/python -m tests.kernels $(ONLY)

oci:
	@mkdir -p dist
	@deploy/oci/build $(if $(COLLECTOR),--collector) $(if $(PACKAGE),--package $(PACKAGE)) dist/supernetflow$(if $(COLLECTOR),-collector)-oci.tar

fresh:
	@scripts/require-root
	@scripts/fresh $(ONLY)

loaded:
	@scripts/require-root
	@scripts/loaded $(ONLY)

deb:
	@deploy/deb/build $(if $(COLLECTOR),--package supernetflow-collector) $(if $(VERSION),--version $(VERSION)) $(if $(TREE),--tree $(TREE)) dist

package-test: setup
	@scripts/setup --apt-only lintian mmdebstrap man-db
	@$(BIN)/python -m tests.packages $(if $(KEEP),--keep $(KEEP))

image:
	@mkdir -p dist
	@deploy/image/build --kernel $(or $(KERNEL),6.1) dist/supernetflow-$(or $(KERNEL),6.1).qcow2

image-test: doctor
	@scripts/setup --apt-only $(APT_IMAGE)
	@$(BIN)/python -m tests.image $(ONLY)

pins: setup
	@scripts/pins

clean:
	rm -rf $(VENV) $(PASSES) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist
