"""What every test finds: one engine, settings of its own, seeds, and the texts where they are.

One process runs under one engine, `KERAS_BACKEND` or torch; `scripts/test.py --all` starts one
for each.
"""

import atexit
import os
import random
import shutil
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
SEED = 0

os.environ.setdefault("KERAS_BACKEND", "torch")
# Keras writes a settings file on import: never into the home of whoever runs the tests.
os.environ["KERAS_HOME"] = tempfile.mkdtemp(prefix="kseq-keras-home-")
atexit.register(shutil.rmtree, os.environ["KERAS_HOME"], ignore_errors=True)
os.environ["MPLBACKEND"] = "Agg"
# A folder the user chose must not decide what a test reads.
os.environ.pop("KSEQ_DATA_DIR", None)

if os.environ["KERAS_BACKEND"] == "jax":
    # Models this small are compiled more than they are run: it saves a fifth of the suite.
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

if os.environ["KERAS_BACKEND"] == "tensorflow":
    # Both are loaded in this process, since bare PyTorch is an oracle; in the other order they
    # crash over the libraries they share.
    import torch  # noqa: F401

# The same examples on every run, and no deadline: other processes share the cores.
settings.register_profile("kseq", derandomize=True, deadline=None, database=None)
settings.load_profile("kseq")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run slow tests too")
    parser.addoption("--slow-beyond", metavar="ENGINE", help="and those that ENGINE does not run")
    parser.addoption("--network", action="store_true", help="run tests that need the network")
    parser.addoption("--killed-runs", type=int, help="how many trainings to kill")
    parser.addoption("--minutes", type=float, default=1.5, help="how long endurance is tested")
    parser.addoption("--mutants", type=int, default=2000, help="how many mutants to try in all")
    parser.addoption("--flips", type=int, default=300, help="how many bits of a model file to flip")
    parser.addoption("--kills", type=int, default=60, help="how often a writer is killed")


def pytest_sessionstart(session):
    """On a new machine the compiler speaks once: not while a test listens to standard error."""
    if os.environ["KERAS_BACKEND"] == "torch":
        from kseq.backend import compiled

        for kept in ("float", "double", "Half"):
            compiled.library(kept)
    if os.environ["KERAS_BACKEND"] == "jax":
        _keep_what_jax_compiles()


def _keep_what_jax_compiles():
    """Compile what several tests have alike once: it saves a fifth of the suite.

    Set here and not in the environment, since a child that is killed leaves half an entry.
    """
    import jax

    folder = tempfile.mkdtemp(prefix="kseq-jax-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pytest_collection_modifyitems(config, items):
    kept = [item for item in items if _belongs(item, config)]
    dropped = [item for item in items if not _belongs(item, config)]
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)


def _belongs(item, config) -> bool:
    engines = [name for mark in item.iter_markers("engine") for name in mark.args]
    if item.get_closest_marker("slow") and not _is_slow_one_wanted(engines, config):
        return False
    return not engines or os.environ["KERAS_BACKEND"] in engines


def _is_slow_one_wanted(engines, config) -> bool:
    other = config.getoption("--slow-beyond")
    return config.getoption("--slow") or bool(other and engines and other not in engines)


def pytest_runtest_setup(item):
    if item.get_closest_marker("network") and not item.config.getoption("--network"):
        pytest.skip("needs the network: run with --network")


@pytest.fixture(autouse=True)
def seeds():
    """Random numbers start at the same place in every test."""
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002 - the global stream is what is being pinned
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(SEED)


@pytest.fixture(scope="session")
def engine() -> str:
    """The engine this process runs under: "torch", "jax" or "tensorflow"."""
    return os.environ["KERAS_BACKEND"]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with timemachine.txt and the other texts; skips where there is none."""
    folder = Path(os.environ.get("KSEQ_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no texts in {folder}: set KSEQ_TEST_DATA to a folder that has them")
    return folder


@pytest.fixture(params=["compiled", "eager"] if os.environ["KERAS_BACKEND"] == "torch" else ["own"])
def recurrences(request):
    """On torch, run with the recurrences in C++ (where they can be built) and without them."""
    from kseq.backend import compiled

    with compiled.disabled() if request.param == "eager" else nullcontext():
        yield request.param
