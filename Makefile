# Every target creates the environments that it needs below this folder; none has to be active.
PYTHON ?= python3
PIP_INSTALL = -m pip install --disable-pip-version-check --progress-bar on

# A Python that is too old ends `make` here, and not in the middle of an installation.
VERSION := $(shell $(PYTHON) -c 'import sys; v = sys.version_info; print("%d.%d.%d" % v[:3] if v >= (3, 11) else "")' 2> /dev/null)
ifeq ($(VERSION)$(filter clean,$(MAKECMDGOALS)),)
FOUND := $(shell $(PYTHON) --version 2>&1)
$(error cloudhsm-restore needs Python 3.11 or newer, and `$(PYTHON)` is: $(or $(FOUND),not found). Name another, for example: make PYTHON=python3.12 $(MAKECMDGOALS))
endif
# Environments of another Python are made anew. `make -n` leaves them.
OTHERS := $(patsubst %/pyvenv.cfg,%,$(shell grep -Ls '^version = $(VERSION)$$' .venv/pyvenv.cfg .venv-*/pyvenv.cfg))
ifneq ($(OTHERS),)
ifeq ($(findstring n,$(firstword -$(MAKEFLAGS))),)
$(info Making $(OTHERS) anew, with Python $(VERSION))
$(shell rm -rf $(OTHERS))
endif
endif

.PHONY: demo picture schema test coverage docs docs-look docs-output check types build sbom licenses audit release versions fault-injection state-space mutants fuzz soak prove bench bench-tools instructions setup-time throttling javascript clean

demo: .venv/demo
	.venv/bin/python -m cloudhsm_restore demo
	@echo "To have cloudhsm-restore on the path: . .venv/bin/activate. To run the tests: make test"

# The picture in the README, from a real run.
picture: .venv/demo
	.venv/bin/python docs/picture.py docs/demo.svg

# The published JSON schema of Backup, from the model.
schema: .venv/demo
	.venv/bin/python docs/schema.py docs/backup.schema.json

test: .venv/test .venv-aws/done
	@AWS_CLI=$(CURDIR)/.venv-aws/bin/aws .venv/bin/python -m pytest -n auto --maxprocesses 8 $(PYTEST_OPTIONS)

# The same with branch coverage, which takes a third more of the processor's time.
coverage: PYTEST_OPTIONS = --cov --cov-report=term
coverage: test

# The output of the pages' blocks, from a real run.
docs-output: .venv/test
	.venv/bin/python -m pytest tests/test_docs.py --update-docs

docs: .venv/docs
	rm -rf docs/_build
	.venv/bin/python -m sphinx -W --keep-going -n -E -q docs docs/_build/html
	.venv/bin/python -m sphinx -b markdown -q -d docs/_build/html/.doctrees docs docs/_build/html
	.venv/bin/python docs/links.py
	@echo docs/_build/html/index.html

# A picture of every page, in docs/_build/look. It needs Chromium, so it is not part of CI.
docs-look: docs .venv-look/done
	mkdir -p docs/_build/look
	.venv-look/bin/python docs/look.py

.venv-look/done:
	$(PYTHON) -m venv .venv-look
	.venv-look/bin/python $(PIP_INSTALL) playwright
	touch $@

check: .venv/dev .venv-cfn/done types sbom
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/pyright
	.venv/bin/vermin -t=3.11- --violations --no-tips cloudhsm_restore examples
	for version in 3.12 3.13 3.14; do \
		.venv/bin/mypy --python-version $$version --cache-dir .mypy_cache/$$version -p cloudhsm_restore && \
		.venv/bin/pyright --pythonversion $$version cloudhsm_restore || exit 1; \
	done
	.venv-cfn/bin/cfn-lint -- examples/*/template.yaml
	.venv/bin/zizmor --offline --strict-collection --persona pedantic --quiet .github
	.venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	.venv/bin/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	.venv/bin/pre-commit validate-config

# Type checkers and an editor's language server on an application that has the wheel: without stubs of boto3, with
# boto3-stubs, and with types-boto3.
types: .venv/dev .venv-wheel/done .venv-stubs/done .venv-types-boto3/done
	.venv/bin/python -m tests.check_types without-stubs .venv-wheel
	.venv/bin/python -m tests.check_types with-stubs .venv-stubs
	.venv/bin/python -m tests.check_types types-boto3 .venv-types-boto3
	.venv-wheel/bin/python tests/check_hover.py .venv/bin/pyright-langserver
	PATH="$(CURDIR)/.venv-stubs/bin:$$PATH" .venv/bin/pyright --project .venv-stubs --verifytypes cloudhsm_restore --ignoreexternal

# An environment that has the built wheel, as an application has it.
.venv-wheel/done: dist
	rm -rf .venv-wheel
	$(PYTHON) -m zipfile -l dist/*.whl | grep cloudhsm_restore/py.typed
	tar -tzf dist/*.tar.gz | grep cloudhsm_restore/py.typed
	! $(PYTHON) -m zipfile -l dist/*.whl | grep tests/
	! tar -tzf dist/*.tar.gz | grep tests/
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python $(PIP_INSTALL) dist/*.whl
	cd .venv-wheel && bin/python -c "from cloudhsm_restore import *; from cloudhsm_restore.testing import *"
	touch $@

# The same with boto3-stubs. The client of S3 is there to be passed by mistake (tests/typing/wrong_with_boto3.py).
.venv-stubs/done: .venv-wheel/done
	rm -rf .venv-stubs
	$(PYTHON) -m venv .venv-stubs
	.venv-stubs/bin/python $(PIP_INSTALL) dist/*.whl 'boto3-stubs[s3]'
	touch $@

.venv-types-boto3/done: .venv-wheel/done
	rm -rf .venv-types-boto3
	$(PYTHON) -m venv .venv-types-boto3
	.venv-types-boto3/bin/python $(PIP_INSTALL) dist/*.whl 'types-boto3[cloudhsmv2,s3]'
	touch $@

# Wheel and sdist, built twice and held against each other, with the tools that build a release.
PACKAGE = $(wildcard cloudhsm_restore/*.* cloudhsm_restore/*/*.*) pyproject.toml README.md CHANGELOG.md LICENSE tools/readme.py
dist: $(PACKAGE) | .venv-build/done
	.venv-build/bin/python tools/build.py

.venv-build/done: .github/build.txt
	$(PYTHON) -m venv .venv-build
	.venv-build/bin/python $(PIP_INSTALL) --require-hashes --requirement .github/build.txt
	touch $@

build: .venv-wheel/done

# An environment with the package, its extra `cli`, and their dependencies, and without pip.
.venv-bare/done: dist
	rm -rf .venv-bare
	$(PYTHON) -m venv --without-pip .venv-bare
	.venv-build/bin/python -m pip --python .venv-bare/bin/python install --quiet --disable-pip-version-check \
		"$$(ls dist/*.whl)[cli]"
	touch $@

# The SBOM of that environment (CycloneDX), validated.
sbom: .venv-bare/done .venv-sbom/done
	VERSION=$$(sed -n 's/^__version__ = "\(.*\)"$$/\1/p' cloudhsm_restore/_version.py); \
		sed "s/^dynamic = .*/version = \"$$VERSION\"/" pyproject.toml > .venv-sbom/pyproject.toml
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) .venv-sbom/bin/cyclonedx-py environment --mc-type library \
		--pyproject .venv-sbom/pyproject.toml --output-reproducible --validate --output-file sbom.cdx.json .venv-bare

.venv-sbom/done:
	$(PYTHON) -m venv .venv-sbom
	.venv-sbom/bin/python $(PIP_INSTALL) cyclonedx-bom
	touch $@

# The table of docs/reference/dependencies.md.
licenses: .venv-bare/done
	.venv-build/bin/python tools/licenses.py .venv-bare/lib/python*/site-packages

# Known vulnerabilities of the dependencies. It sends requests to pypi.org, so it is not part of `make check`.
audit: .venv-bare/done
	test -x .venv-audit/bin/pip-audit || $(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python $(PIP_INSTALL) pip-audit
	.venv-build/bin/python -m pip --python .venv-bare/bin/python freeze --exclude cloudhsm-restore > .venv-audit/requirements.txt
	.venv-audit/bin/pip-audit --strict --no-deps --disable-pip --requirement .venv-audit/requirements.txt

# A release, as CONTRIBUTING.md describes it. `make release VERSION=1.2.3 DRY_RUN=1` leaves out the tag and the push.
release: .venv/test
	DRY_RUN=$(DRY_RUN) .venv/bin/python tools/release.py "$(VERSION)"

# The tables of benchmarks/README.md and docs/explanation/speed.md, in about a quarter of an hour. `make bench QUICK=1`
# is a short run that writes nothing. Everything is installed as users have it.
bench: bench-tools .venv-bench/done .venv-aws/done
	.venv-bench/bin/python -m benchmarks.run $(if $(QUICK),--quick)

# The table and the plot about throttling in docs/explanation/speed.md, in two minutes. It needs an idle machine.
throttling: .venv-bench/done
	.venv-bench/bin/python -m benchmarks.throttling

# Only the instructions, which hardly vary from machine to machine.
instructions: bench-tools .venv-bench/done
	.venv-bench/bin/python -m benchmarks.instructions --write

# These are programs, and not packages of Python. Without them, `make bench` ends before it installs anything.
bench-tools:
	@$(PYTHON) -c 'from benchmarks.measure import need; need("hyperfine", "valgrind")'

# The parts of `make demo` and `make test` in a fresh clone, for CONTRIBUTING.md.
setup-time: .venv/demo
	.venv/bin/python -m benchmarks.setup_time

.venv-bench/done: pyproject.toml $(wildcard cloudhsm_restore/*.py cloudhsm_restore/*/*.py)
	for name in bench bench-async peer-capo peer-validator peer-dataclass; do \
		test -x .venv-$$name/bin/python || $(PYTHON) -m venv .venv-$$name; \
	done
	.venv-bench/bin/python $(PIP_INSTALL) --force-reinstall --no-deps .
	.venv-bench/bin/python $(PIP_INSTALL) '.[cli]' packaging
	.venv-bench-async/bin/python $(PIP_INSTALL) --force-reinstall --no-deps .
	.venv-bench-async/bin/python $(PIP_INSTALL) . aiobotocore
	.venv-peer-capo/bin/python $(PIP_INSTALL) capo-cloudhsm-v2
	.venv-peer-validator/bin/python $(PIP_INSTALL) aws-resource-validator-cloudhsmv2
	.venv-peer-dataclass/bin/python $(PIP_INSTALL) boto3-dataclass-cloudhsmv2
	touch $@

# The suite with old, new, and middling versions of the dependencies.
versions: .venv/test
	.venv/bin/python -m tests.version_matrix --write

# Random faults with both clients, and the tables of docs/reference/verification.md, in about ten minutes.
fault-injection: .venv/test
	.venv/bin/python -m tests.fault_injection --write

# A program in another language against the local service. Installs AWS's SDK for JavaScript from npm.
javascript: .venv/dev
	.venv/bin/python -m tests.check_javascript .venv-javascript

# All schedules of the state machine with a model of the service, to the fixed point, in a few minutes.
state-space: .venv/test
	.venv/bin/python -m tests.state_space --write

# 200 mutants of the core, in about ten minutes; `make mutants SAMPLE=2000` takes all.
SAMPLE ?= 200
mutants: .venv/test
	.venv/bin/python -m tests.mutants --sample $(SAMPLE) --budget 20 --write

# An hour of coverage-guided fuzzing with atheris, in half an hour. It writes its table only for the whole hour.
SECONDS ?= 3600
fuzz: .venv-fuzz/done
	.venv-fuzz/bin/python -m tests.fuzz --seconds $(SECONDS) --jobs 2 $(if $(filter 3600,$(SECONDS)),--write)

# Processes that end in the middle of their restores, and threads that share a client, in four minutes.
soak: .venv/test
	.venv/bin/python -m tests.processes --write

# All of the long runs, one after another, and the figures of docs/reference/verification.md. It takes an hour and a half.
prove:
	$(MAKE) --keep-going state-space fault-injection soak mutants fuzz versions

.venv-fuzz/done: pyproject.toml
	test -x .venv-fuzz/bin/python || $(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/python $(PIP_INSTALL) --editable '.[test]' atheris
	touch $@

.venv/bin/python:
	@$(PYTHON) -m venv .venv

.venv/demo: pyproject.toml | .venv/bin/python
	@echo "Installing the dependencies of the demo into .venv ..."
	@.venv/bin/python $(PIP_INSTALL) --editable '.[cli]'
	@touch $@

.venv/test: pyproject.toml | .venv/bin/python
	@echo "Installing the dependencies of the tests into .venv ..."
	@.venv/bin/python $(PIP_INSTALL) --editable '.[test]'
	@touch $@

.venv/docs: pyproject.toml | .venv/bin/python
	.venv/bin/python $(PIP_INSTALL) --editable '.[docs]'
	touch $@

.venv/dev: pyproject.toml | .venv/bin/python
	.venv/bin/python $(PIP_INSTALL) --editable '.[dev]'
	touch $@

# The AWS CLI pins a version of botocore, so it cannot share an environment with the tests. It uses the pip of .venv,
# and compiles only the modules that it imports: that takes half the time.
.venv-aws/done: | .venv/bin/python
	@echo "Installing the AWS CLI into .venv-aws ..."
	@$(PYTHON) -m venv --without-pip .venv-aws
	@.venv/bin/python -m pip --python .venv-aws/bin/python $(wordlist 3,99,$(PIP_INSTALL)) --no-compile awscli
	@touch $@

# cfn-lint has 180 MB of dependencies that no other target needs.
.venv-cfn/done:
	$(PYTHON) -m venv .venv-cfn
	.venv-cfn/bin/python $(PIP_INSTALL) 'cfn-lint>=1.58'
	touch $@

clean:
	rm -rf .venv .venv-* dist sbom.cdx.json docs/_build .coverage .coverage.* .fuzz .hypothesis .mutants .mypy_cache .pytest_cache .ruff_cache
