# `make book` builds the book, `make test` checks everything. `make help` lists the rest.
# Needs Python >= 3.11 and make; `make test` also needs Chromium and Firefox.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

BIN      := .venv/bin
SITE     := _build/html
PORT     ?= 8000
LAB      ?= $(CURDIR)/_build/jupyter
JOBS     ?= 2
CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
FIREFOX  ?= $(shell command -v firefox-esr || command -v firefox)
export CHROMIUM FIREFOX

# Each of the many processes of a test would compile anew what it imports.
unexport PYTHONDONTWRITEBYTECODE

# A widget has an identity of its own on every run. Where outputs are stored or compared, figures stand alone.
STILL    := BLKMODEL_STILL=1

PAGES    := $(shell find book _config.yml _toc.yml -type f ! -path '*/.ipynb_checkpoints/*' ! -path '*/__pycache__/*' ! -path 'book/_print/*')
PACKAGE  := $(shell find blkmodel -type f ! -path '*/__pycache__/*' ! -path '*.egg-info/*')

say = @printf '\n== %s\n' $(1)

.PHONY: help venv book test chromium firefox lint unit chapters browser screenshots lab serve bench seeds hollow size readme outputs clean verify-kernel lock wheel pdf archive publish links
help: ## say what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST)

venv: .venv/installed

.venv/installed: requirements.txt pyproject.toml
	@python=; for p in "$(PYTHON)" python3 python3.14 python3.13 python3.12 python3.11; do \
	  [ -n "$$p" ] && "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$$p && break; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Python 3.11 or later is needed; this machine has: $$(python3 --version 2>&1)."; \
	  echo "On Debian: apt-get install python3 python3-venv. Or name one: make PYTHON=/path/to/python3.11"; exit 1; fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "$$python cannot create a virtual environment. On Debian: apt-get install python3-venv"; exit 1; fi; \
	echo "== Installing the tools into .venv with $$($$python --version) (about one minute, 800 MB)"; \
	"$$python" -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps -r requirements.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip check -q --disable-pip-version-check
	@touch $@

book: $(SITE)/.built ## build the book and say which file to open
	@printf '\nOpen  file://%s\nor    make serve\n' "$(CURDIR)/$(SITE)/index.html"

# Always from nothing: a page that was removed would stay, and a warning of an earlier run would not come back.
$(SITE)/.built: .venv/installed $(PAGES) $(PACKAGE)
	$(call say,"Building the book (about a minute and a half; a warning is an error)")
	@rm -rf _build/html _build/.doctrees
	@mkdir -p _build
	@$(BIN)/python book/_engine/build.py
	@$(BIN)/jupyter-book build . -q -W -n --keep-going > _build/book.log || { cat _build/book.log; exit 1; }
	@touch $@

# The book is built and printed beside what runs without it, since that takes one processor alone. While it is built, no
# tests are collected: they ask which pages there are.
test: .venv/installed chromium firefox lint ## check everything (needs Chromium and Firefox)
	@$(MAKE) -j $(JOBS) chapters $(SITE)/.built
	@$(MAKE) -j $(JOBS) unit pdf
	@$(MAKE) browser

chromium:
	@if [ -z "$(CHROMIUM)" ]; then \
	  echo "The browser tests need Chromium. On Debian: apt-get install chromium"; \
	  echo "Or name one: make CHROMIUM=/path/to/chromium"; exit 1; fi

firefox:
	@if [ -z "$(FIREFOX)" ]; then \
	  echo "The browser tests need Firefox too. On Debian: apt-get install firefox-esr"; \
	  echo "Or name one: make FIREFOX=/path/to/firefox"; exit 1; fi

lint: .venv/installed ## ruff, mypy, and the workflows
	$(call say,"Style (ruff) and types (mypy): about ten seconds")
	@$(BIN)/ruff check --quiet .
	@$(BIN)/isort --check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/zizmor --offline --quiet --no-progress .github
	@$(BIN)/check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/check-jsonschema -q --builtin-schema custom.github-workflows-require-timeout .github/workflows/*.yml
	@$(BIN)/check-jsonschema -q --builtin-schema vendor.citation-file-format CITATION.cff

unit: .venv/installed ## the tests of the model, without a browser
	$(call say,"The model against its recordings: about four minutes")
	@$(BIN)/pytest -q -n $(JOBS) -m "not site" tests

chapters: .venv/installed ## run every chapter and compare with its stored outputs, to the letter
	$(call say,"Every chapter against its stored outputs: about a minute")
	@$(BIN)/python -m tests.tools.alone
	@cd _build/alone/chapters && env -u PYTHONPATH $(STILL) JUPYTER_PATH=$(CURDIR)/_build/alone/jupyter \
	  $(CURDIR)/$(BIN)/pytest -q -c /dev/null --rootdir . -p no:cacheprovider -n $(JOBS) --dist loadfile \
	  --nbval --nbval-kernel-name alone --nbval-sanitize-with $(CURDIR)/tests/tools/sanitize.cfg .

browser: chromium firefox $(SITE)/.built pdf ## visit every page of the built book
	$(call say,"Every page in a browser: about seven minutes")
	@$(BIN)/pytest -q -n $(JOBS) --dist loadgroup -m "site and not screenshots" tests/book

wheel: chapters ## the wheel that every chapter has just been run with, and its source distribution, in _build/dist
	@rm -rf _build/dist && mkdir -p _build/dist
	@cp _build/alone/*.whl _build/alone/*.tar.gz _build/dist
	@ls _build/dist

pdf: _build/book.pdf ## the whole book as PDF: _build/book.pdf

_build/book.pdf: $(SITE)/.built $(wildcard book/_print/*) | chromium
	$(call say,"Printing the book (about two minutes)")
	@$(BIN)/python book/_print/press.py $@

archive: $(SITE)/.built ## the site in one file, for reading offline: _build/book.zip
	@$(BIN)/python -m tests.tools.archive _build/book.zip

# What a host is given: see .github/workflows/pages.yml, and book/_ext/published.py for the settings BOOK_….
publish: $(SITE)/.built pdf archive wheel ## all that a host is to show, in _build/site
	@rm -rf _build/site && cp -r $(SITE) _build/site && rm _build/site/.built
	@cp _build/book.pdf _build/book.zip _build/dist/*.whl _build/site
	@touch _build/site/.nojekyll

links: $(SITE)/.built ## ask other hosts whether what the book links to is still there
	@$(BIN)/python -m tests.tools.links

screenshots: chromium $(SITE)/.built ## pictures of every page in _build/screenshots
	@$(BIN)/pytest -q -n $(JOBS) -m screenshots tests/book
	@echo "See $(CURDIR)/_build/screenshots"

# The stored figures are shown at first sight: JupyterLab strips those of a notebook that nobody has trusted.
lab: .venv/installed ## open the chapters in JupyterLab
	@JUPYTER_DATA_DIR=$(LAB) $(BIN)/jupyter trust $(wildcard book/*.ipynb) > /dev/null
	@JUPYTER_DATA_DIR=$(LAB) $(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) --notebook-dir=book

serve: $(SITE)/.built ## serve the built book on this machine
	@echo "http://127.0.0.1:$(PORT)/ (stop with Ctrl-C)"
	@$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory $(SITE)

bench: chromium $(SITE)/.built ## measure the model, and the figures in a browser; BEFORE=DIR names a site to compare with
	@BEFORE=$(BEFORE) $(BIN)/pytest -q -o addopts=--import-mode=importlib --benchmark-only tests

seeds: .venv/installed ## draw each exercise that is drawn a thousand times
	@SEEDS=1000 $(BIN)/pytest -q -n $(JOBS) -m slow tests/book/test_exercises.py

hollow: .venv/installed ## hollow out each function of the model in turn; some check must fail
	@$(BIN)/python -m tests.tools.hollow

size: .venv/installed ## lines of code by room, beside those of the C that they stand for
	@$(BIN)/python -m tests.tools.size

verify-kernel: .venv/installed ## boot packaged kernels in QEMU and hold the model against them: KERNELS="DIR ..."
	@$(BIN)/python -m tests.tools.verify_kernel $(KERNELS)

# Pins that can stay, stay: for the newest of all, make lock NEW=--upgrade. 3.11.2 is Debian 12's Python.
lock: .venv/installed ## make requirements.txt, with digests, of requirements.in
	@$(BIN)/uv pip compile -q $(NEW) --universal --python-version 3.11.2 --generate-hashes --no-annotate \
	  --custom-compile-command "make lock" -o requirements.txt requirements.in

readme: .venv/installed ## put the figures and the picture of README.md right
	@$(BIN)/python -m tests.tools.readme

outputs: .venv/installed ## run every chapter and store its outputs
	@$(STILL) $(BIN)/python -m tests.tools.outputs

clean: ## remove everything that was made
	rm -rf _build .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks blkmodel.egg-info
	find blkmodel tests book -name __pycache__ -prune -exec rm -rf {} +
