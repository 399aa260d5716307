# `make demo` and `make test` do all their own set-up; see README.md for the plain commands behind them.
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

# threads that wait without spinning: on a busy machine, or one of two cores, several times faster
export OMP_WAIT_POLICY ?= PASSIVE

# tests start many processes, which all would compile this project's modules anew if its bytecode were not kept
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist worksteal

BUNDLE := bundles/pu_unet_kvasir
DEMO := output/demo
BENCH ?= output/bench

# MONAI Label has an environment of its own; the bundles and studies it serves may be others
LABEL_VENV ?= .venv-label
LABEL_BUNDLES ?= bundles/pu_unet_brats
LABEL_STUDIES ?= output/label/heads/imagesTr
LABEL_PORT ?= 8000
# what training and evaluation of the demo share; the bundle's own defaults are the paper's, for a GPU
DEMO_RUN := --bundle_root $(BUNDLE) --dataset_dir $(DEMO)/phantom --datalist_file $(DEMO)/datalist.json \
	--output_dir $(DEMO) --ckpt_dir $(DEMO)/models --image_size 96 --channels "[16,32,64,128]"

.PHONY: help install demo bench label label-install test test-all lint types format dist clean

help:
	@echo "make demo     train PU-UNet on a synthetic dataset, evaluate it and draw its masks (a few minutes)"
	@echo "make bench    measure time and memory against MONAI, PyTorch and the baseline (an hour on one core; BENCH=folder)"
	@echo "make label    install MONAI Label apart and serve the brain bundle on 127.0.0.1:$(LABEL_PORT) (LABEL_BUNDLES, LABEL_STUDIES)"
	@echo "make test     run the tests; with PU_UNET_DATA_DIR=<folder> also those on the real datasets"
	@echo "make test-all install MONAI Label, Orthanc, NVFlare, MLflow (Debian's packages by apt) and run all tests"
	@echo "make lint     check style and formatting;  make types  check types;  make format  mend formatting"
	@echo "make dist     build the wheel, and a zip of each bundle, in dist/"
	@echo "make clean    remove the virtual environment and everything under output/"

install: $(INSTALLED)

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 12) or sys.exit(f"error: Python {v[0]}.{v[1]} found, 3.11 or 3.12 needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e .[test,dicom,export]
	@# on all cores, as pip would not; a package may hold a file for a newer Python, which does not compile
	@$(PY) -m compileall -qq -j 0 $(VENV)/lib > /dev/null || true
	@touch $@

demo: $(INSTALLED)
	rm -rf $(DEMO)
	mkdir -p $(DEMO)
	$(PY) -m data_prep.phantom --output $(DEMO)/phantom --layout kvasir --number 300 --size 96
	$(PY) -m data_prep.kvasir --source $(DEMO)/phantom --output $(DEMO)/datalist.json
	$(PY) -m monai.bundle run training --config_file $(BUNDLE)/configs/train.json $(DEMO_RUN) \
		--max_epochs 12 --learning_rate 0.001 --num_workers 0
	$(PY) -m monai.bundle run evaluating \
		--config_file "['$(BUNDLE)/configs/train.json','$(BUNDLE)/configs/evaluate.json']" $(DEMO_RUN)
	$(PY) -m pu_unet_monai predict --bundle $(BUNDLE) --input $(DEMO)/phantom/images --output $(DEMO)/masks \
		--set ckpt_dir=$(DEMO)/models
	@echo
	@echo "The demo lies in $(DEMO):"
	@echo "  gallery.png          image, truth and prediction side by side, worst to best held-out case"
	@echo "  scores.csv           scores of every held-out case;  scores.json  their means"
	@echo "  epochs.png           loss and validation score of every epoch;  epochs.csv, tensorboard/  the same in numbers"
	@echo "  models/model.pt      the best weights"
	@echo "  masks/               predicted masks, overlays and report.json"
	@echo "  phantom/             the synthetic images"

bench: $(INSTALLED)
	$(PY) -m benchmarks --output $(BENCH)

label-install: $(LABEL_VENV)/.installed

$(LABEL_VENV)/.installed: setup.cfg pyproject.toml label_server/requirements.txt
	$(PYTHON) -m venv $(LABEL_VENV)
	$(LABEL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(LABEL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r label_server/requirements.txt -e .
	@touch $@

output/label/heads/imagesTr: | $(INSTALLED)
	mkdir -p output/label
	$(PY) -m data_prep.volume_phantom --output output/label/heads --layout decathlon --number 4

label: label-install $(filter output/label/heads/imagesTr,$(LABEL_STUDIES))
	label_server/serve.sh $(LABEL_VENV) output/label "$(LABEL_STUDIES)" $(LABEL_PORT) $(LABEL_BUNDLES)

test: $(INSTALLED)
	$(PYTEST)

# what a test needs and does not find is named among the skipped; here all of it is there, and kills, faults and bad inputs
# are tried many times over
test-all: $(INSTALLED) label-install
	tests/install_debian_packages.sh
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .[test,dicom,export,federated,tracking]
	mkdir -p output && rm -f output/reliability.json
	PU_UNET_TESTS=full PU_UNET_FIGURES=$(CURDIR)/output/reliability.json $(PYTEST)

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(INSTALLED)
	$(VENV)/bin/mypy

format: $(INSTALLED)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# without a stale build/, whose modules would go into the wheel
dist: $(INSTALLED)
	@test -z "$$(git status --porcelain)" || { echo "error: files that are not committed, such as weights of your own, would be in it:"; git status --short; exit 2; }
	rm -rf build dist
	$(PY) -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	$(PY) -m tools.bundle_zips --output dist
	rm -rf build

clean:
	rm -rf $(VENV) $(LABEL_VENV) output build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
