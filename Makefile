# `make demo` and `make test` set everything up by themselves.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-py test-lowest browser lint examples bench parity sbom docs wheel wheel-check clean

bin := .venv/bin
ready := .venv/.ready

help:  ## this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(ready)  ## .venv from requirements.lock, and an LLVM for the ray tracer where there is no GPU

$(ready): requirements.lock pyproject.toml .ci/setup
	@.ci/setup

demo: $(ready)  ## the whole pipeline on real cities; the report lands in runs/demo
	$(bin)/uel demo

# One process for each core, up to four: a process takes some 3 GB. A file's tests share fixtures, so they stay together.
in_parallel := -n $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores < 4 ? cores : 4))) --dist loadfile

test: $(ready)  ## the quick tests
	$(bin)/python -m pytest $(in_parallel) -m "not slow and not gpu and not net and not browser"

test-all: $(ready) browser  ## every test
	$(bin)/python -m pytest $(in_parallel) -m "not browser"
	$(bin)/python -m pytest -n 0 -m browser

test-py: $(ready)  ## tests that touch every library, on Python 3.11, 3.12 and 3.13, as far as they are here
	.ci/smoke 3.11
	.ci/smoke 3.12
	.ci/smoke 3.13

test-lowest: $(ready)  ## the same with the lowest versions that pyproject.toml allows
	.ci/smoke lowest

browser:  ## a Chromium for the tests of the explorer, where there is none
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || .ci/chromium

lint: $(ready)  ## style, layers, types, and the rules of the house
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/lint-imports --no-cache
	$(bin)/pyright
	$(bin)/python -m pytest -n 0 -q tests/house

examples: $(ready)  ## run the examples, and make their notebooks anew
	$(bin)/python examples/make_notebooks.py

bench: $(ready)  ## how fast, and how good, against the numbers written down
	$(bin)/python -m tests.bench

parity: $(ready) .parity/.ready  ## PHY and SYS layers beside Sionna 1.2.2 on TensorFlow, in an environment of its own
	@mkdir -p runs/parity
	.parity/bin/python tests/parity/sionna_tf.py tests/parity/inputs.json runs/parity/sionna.json
	$(bin)/python -m tests.parity runs/parity/sionna.json

.parity/.ready: tests/parity/requirements.txt | $(ready)
	$(bin)/uv venv -q --clear --python $(bin)/python .parity
	$(bin)/uv pip install -q --python .parity/bin/python --require-hashes -r $<
	@touch $@

sbom: $(ready) .sbom/.ready  ## software bill of materials with licences (CycloneDX), in runs/sbom.json
	@mkdir -p runs
	.sbom/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible -o runs/sbom.json $(bin)/python

.sbom/.ready: .ci/sbom-requirements.txt | $(ready)
	$(bin)/uv venv -q --clear --python $(bin)/python .sbom
	$(bin)/uv pip install -q --python .sbom/bin/python --require-hashes -r $<
	@touch $@

wheel: $(ready)  ## wheel and sdist in dist/, built twice and compared byte by byte
	.ci/wheel

wheel-check: $(ready)  ## and the wheel installed with each extra into an empty environment (several GB)
	.ci/wheel --install

# mkdocstrings looks for ruff on the path.
docs: .docs/.ready  ## the documentation site in runs/site, strict: every link leads somewhere, every public object is documented
	@PATH="$(CURDIR)/.docs/bin:$$PATH" NO_MKDOCS_2_WARNING=1 mkdocs build --quiet --clean
	@echo runs/site/index.html

.docs/.ready: .ci/docs-requirements.txt | $(ready)
	$(bin)/uv venv -q --clear --python $(bin)/python .docs
	$(bin)/uv pip install -q --python .docs/bin/python --require-hashes -r $<
	@touch $@

clean:  ## caches; data/, runs/ and .venv stay
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path "./.venv/*" -prune -exec rm -rf {} +
