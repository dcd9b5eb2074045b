"""One training over several engines: begun on one, it goes on on another, and is judged on all."""

import json
import os
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
from children import LONGEST
from three_engines import IDS, OPTIMIZERS, learn, state_of

TESTS = Path(__file__).resolve().parent
# The engines add in other orders, and Adam divides by what is small at first.
CLOSE = {"rtol": 2e-3, "atol": 2e-5}


def on(engine, *words):
    """Run Python on another engine; give what it says."""
    if find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    environment = {
        **os.environ,
        "KERAS_BACKEND": engine,
        "PYTHONPATH": str(TESTS.parent),
        "OMP_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def trained(engine, folder, stop_after, *optimizers):
    on(engine, TESTS / "three_engines.py", folder, stop_after, *optimizers)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], **CLOSE, err_msg=name)


def gone_on(folder, name):
    """Go on here with a run of torch, and hear that it is one."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        model, run = learn(folder, name)
    words = f"trained on torch until now, goes on on {keras.backend.backend()}: with the same"
    assert [w for w in caught if str(w.message).startswith(words)]
    return state_of(model), [[record["loss"], record["val_loss"]] for record in run.records]


@pytest.mark.engine("jax")
def test_a_training_of_torch_goes_on_in_the_middle_of_an_epoch(tmp_path):
    names = ("adam", "dropout")
    trained("torch", tmp_path / "whole", 0, *names)
    trained("torch", tmp_path / "parts", 13, *names)
    expected, with_dropout = (dict(np.load(tmp_path / "whole" / f"{n}.npz")) for n in names)
    del expected["averaged"]
    state, losses = gone_on(tmp_path / "parts" / "adam", "adam")
    np.testing.assert_allclose(losses, expected.pop("losses"), rtol=1e-4)
    assert_same(state, expected)
    # Each engine draws other masks from the same seeds: what goes on is their count.
    state, _ = gone_on(tmp_path / "parts" / "dropout", "dropout")
    seeds = [name for name, array in state.items() if array.dtype.kind in "iu"]
    assert len(seeds) > 3
    assert_same({n: state[n] for n in seeds}, {n: with_dropout[n] for n in seeds})


@pytest.mark.slow
@pytest.mark.engine("jax")
def test_one_training_on_three_engines_and_back(tmp_path):
    trained("torch", tmp_path / "whole", 0, *OPTIMIZERS)
    parts = tmp_path / "parts"
    # Ends within an epoch, at one, and within one again.
    for engine, steps in (("torch", 5), ("jax", 15), ("tensorflow", 7), ("torch", 0)):
        trained(engine, parts, steps, *OPTIMIZERS)
    for name in OPTIMIZERS:
        found, expected = (dict(np.load(f / f"{name}.npz")) for f in (parts, tmp_path / "whole"))
        assert_same(found, expected)
        assert expected["averaged"].any() == (name == "asgd")
    judged_alike(parts / "adam" / "best.keras", tmp_path)


def judged_alike(model, folder):
    text = folder / "text.txt"
    text.write_text("".join(" abcde"[i] for i in IDS) * 3)
    words = ("-m", "kseq", "evaluate", model, text, "--json", "--batch-size", 2, "--num-steps", 5)
    losses = [json.loads(on(engine, *words))["loss"] for engine in ("torch", "jax", "tensorflow")]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)
