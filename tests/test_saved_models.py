"""The models that ship: each loads, speaks and measures as its card says, release after release.

What a file must give is stored here and not computed, so that a change of any engine, of Keras or
of kseq that alters the meaning of an old file is seen.
"""

import json
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from children import LONGEST
from conftest import ROOT

import kseq
from kseq.training import held_out_batches

FOLDER = ROOT / "saved_models"
EXPECTED = json.loads((FOLDER / "expected.json").read_text("utf-8"))
NAMES = sorted(name for name, expected in EXPECTED.items() if "prompt" in expected)
FORECASTERS = sorted(EXPECTED.keys() - set(NAMES))


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    return kseq.load_model(FOLDER / f"{name}.keras")


def test_every_model_has_a_card_and_expectations():
    assert {path.stem for path in FOLDER.glob("*.keras")} == set(EXPECTED)
    assert {path.stem for path in FOLDER.glob("*.md")} == set(EXPECTED)


def test_the_logits_are_those_of_the_day_it_was_saved(model, name):
    expected = EXPECTED[name]
    ids = model.vocab.encode(expected["prompt"])[None]
    logits = keras.ops.convert_to_numpy(model(ids))[0, -1]

    np.testing.assert_allclose(logits, expected["logits"], atol=1e-5)


def test_it_says_what_it_said(model, name):
    expected = EXPECTED[name]

    assert model.generate(expected["prompt"], 40) == expected["likeliest"]
    assert model.generate(expected["prompt"], 40, temperature=0.6, seed=0) == expected["drawn"]


@pytest.mark.parametrize("name", EXPECTED)
def test_it_loads_in_a_python_that_has_done_nothing_else(name):
    """Whatever class a file names is registered by loading, not by an import somewhere else."""
    program = f"import kseq; kseq.load_model({str(FOLDER / name) + '.keras'!r})"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )

    assert done.returncode == 0, done.stderr


def test_it_goes_on_training(model):
    batches = kseq.SequentialBatches(np.arange(60) % len(model.vocab), 2, 10)
    again = kseq.LanguageModel.from_config(model.get_config())
    again.set_weights(model.get_weights())
    again.compile()

    again.fit(batches, epochs=1, verbose=0)

    assert all(np.isfinite(weight).all() for weight in again.get_weights())


def test_the_story_is_predicted_as_well_as_the_card_says():
    model = kseq.load_model(FOLDER / "story-lstm.keras")
    train, held_out = kseq.load_corpus("story").split(0.9)
    batches = held_out_batches(held_out, kseq.SequentialBatches(train, 16, 35))

    _, perplexity = model.evaluate(batches, verbose=0)

    assert perplexity == pytest.approx(EXPECTED["story-lstm"]["held_out_perplexity"], rel=1e-5)


def test_the_cards_numbers_are_those_of_the_files(name):
    card = (FOLDER / f"{name}.md").read_text("utf-8")
    facts = kseq.inspect_model(FOLDER / f"{name}.keras")
    shown = float(re.search(r"held-out perplexity \| ([\d.]+)", card)[1])

    assert shown == pytest.approx(facts["provenance"]["results"]["val_perplexity"], abs=0.006)
    assert facts["provenance"]["corpus"]["sha256"] in card
    assert f"{facts['parameters']:,} parameters" in card


@pytest.mark.parametrize("name", FORECASTERS)
def test_a_forecaster_forecasts_what_it_did(name):
    model, expected = kseq.load_model(FOLDER / f"{name}.keras"), EXPECTED[name]
    history = np.sin(0.01 * np.arange(1, 301))

    np.testing.assert_allclose(model.forecast(history, 8), expected["forecast"], atol=1e-5)
    lower, upper = model.interval(history, 8)
    np.testing.assert_allclose(lower, expected["lower"], atol=1e-5)
    np.testing.assert_allclose(upper, expected["upper"], atol=1e-5)


@pytest.mark.parametrize("name", FORECASTERS)
def test_a_forecaster_goes_on_training(name):
    model = kseq.load_model(FOLDER / f"{name}.keras")
    x, y = kseq.windows(kseq.noisy_sine(300), model.window, model.outputs)

    model.fit(x, y, verbose=0)

    assert model.provenance.epochs == 61
    assert np.isfinite(model.forecast(x[0], 64)).all()


@pytest.mark.parametrize("name", FORECASTERS)
def test_a_forecasters_card_tells_its_size_and_its_series(name):
    card = (FOLDER / f"{name}.md").read_text("utf-8")
    facts = kseq.inspect_model(FOLDER / f"{name}.keras")

    assert f"{facts['parameters']:,} parameters" in card
    assert f"{facts['provenance']['series']['name']}, seed 0" in card
