"""Forecasters in files: what comes back, what goes on, and whose file is whose."""

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from children import LONGEST
from conftest import ROOT
from language_cases import same, tiny

from kseq.backend import ENGINES
from kseq.data.processes import noisy_sine
from kseq.data.series import windows
from kseq.errors import ModelFileError, UsageError
from kseq.nn.forecaster import Forecaster
from kseq.nn.optimizers import clipped_optimizer
from kseq.nn.series_batches import SeriesBatches
from kseq.saving import inspect_model, load_model

SERIES = noisy_sine(150, seed=8) * 30 + 7


def small(**options):
    return Forecaster(**{"kind": "gru", "window": 6, "units": 3, **options})


OPTIONS = [
    {"kind": "mlp", "outputs": 4, "activation": "linear", "use_bias": False, "scaling": "window"},
    {"kind": "simple_rnn", "window": None, "num_layers": 2, "scaling": "standard"},
    {"kind": "gru", "every_step": True, "dropout": 0.3, "num_layers": 2, "init": "torch"},
    {"kind": "lstm", "outputs": 2, "scaling": "standard", "seed": 4, "name": "wave"},
    {"kind": "peephole_lstm"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options["kind"])
def test_a_file_gives_the_same_forecaster(tmp_path, options):
    model, path = small(**options), tmp_path / "model.keras"
    model.adapt(SERIES)
    model.calibrate(SERIES, 5)
    model.provenance.series = {"name": "sine", "points": 150}
    model.save(path)
    loaded = load_model(path, kind="Forecaster")
    assert type(loaded) is Forecaster
    assert same(loaded.get_weights(), model.get_weights())
    assert loaded.get_config() == model.get_config()
    assert (loaded.name, loaded.fitted, loaded.margins) == (model.name, model.fitted, model.margins)
    assert loaded.provenance.series == {"name": "sine", "points": 150}
    np.testing.assert_allclose(loaded.forecast(SERIES, 9), model.forecast(SERIES, 9), rtol=1e-6)
    pairs = zip(loaded.interval(SERIES, 5), model.interval(SERIES, 5), strict=True)
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_training_goes_on_as_if_never_saved(tmp_path):
    model, path = small(kind="mlp", scaling="standard"), tmp_path / "model.keras"
    x, y = windows(SERIES, 6)
    model.compile(clipped_optimizer("adamw", 0.02, weight_decay=0.1), metrics=["mae"])
    model.fit(x, y, epochs=2, shuffle=False, verbose=0)
    model.save(path)
    loaded = load_model(path)
    assert loaded.provenance.epochs == 2
    assert loaded.provenance.results == model.provenance.results
    histories = [
        one.fit(x, y, epochs=2, shuffle=False, verbose=0).history for one in (model, loaded)
    ]
    assert histories[1]["loss"] == pytest.approx(histories[0]["loss"], rel=1e-6)
    assert histories[1]["mae"] == pytest.approx(histories[0]["mae"], rel=1e-6)
    for found, expected in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert loaded.provenance.epochs == 4


def test_a_carried_state_is_in_no_file(tmp_path):
    model = small(window=None)
    model.compile()
    model.fit(SeriesBatches(SERIES, 2, 10), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert len(loaded.weights) == len(model.weights)
    np.testing.assert_allclose(loaded.forecast(SERIES, 5), model.forecast(SERIES, 5), rtol=1e-6)


# Whose file is whose.


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    model = small(scaling="standard")
    model.adapt(SERIES)
    model.calibrate(SERIES, 2)
    model.compile()
    model.save(folder / "wave.keras")
    tiny().save(folder / "words.keras")
    return folder


def test_a_language_model_is_no_forecaster_and_a_forecaster_no_language_model(files):
    for name, wanted, message in (
        ("words", "Forecaster", "must hold a Forecaster, found a LanguageModel; use .* kseq gener"),
        ("wave", "LanguageModel", "must hold a LanguageModel, found a Forecaster; use .* kseq for"),
    ):
        path = files / f"{name}.keras"
        with pytest.raises(ModelFileError, match=message) as raised:
            load_model(path, kind=wanted)
        assert f"{path.name}: must" in str(raised.value)
        assert type(load_model(path)).__name__ != wanted


def test_a_kind_that_is_none_is_refused(files):
    with pytest.raises(UsageError, match=r"kind: must be .* 'forecaster'; did you mean 'Forecas"):
        load_model(files / "wave.keras", kind="forecaster")


def test_a_file_tells_what_is_in_it(files):
    facts = inspect_model(files / "wave.keras")
    assert (facts["kind"], facts["vocab_size"]) == ("Forecaster", None)
    assert facts["parameters"] == small().count_params()
    told = {"kind": "gru", "window": 6, "units": 3, "outputs": 1, "scaling": "standard"}
    assert told.items() <= facts["settings"].items()
    assert facts["settings"]["fitted"]["mean"] == pytest.approx(SERIES.mean(), rel=1e-5)
    assert "margins" not in facts["settings"]
    assert facts["provenance"]["series"] is None
    assert json.dumps(facts)


def altered(path, target, change):
    """Write the file again with its configuration changed in place by `change`."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config).encode()
            archive.writestr(name, content)
    return target


CHANGES = {
    "no settings": lambda config: config.pop("config"),
    "settings that are a list": lambda config: config.update(config=[1]),
    "a class that is a list": lambda config: config.update(class_name=["Forecaster"]),
}


@pytest.mark.parametrize("read", [inspect_model, load_model], ids=["inspect", "load"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_configuration_that_is_none_is_refused(files, tmp_path, read, change):
    path = altered(files / "wave.keras", tmp_path / "model.keras", change)
    with pytest.raises(ModelFileError, match=r"must be a whole \.keras file, found an incomplete"):
        read(path)


@pytest.mark.parametrize(
    "settings",
    [
        {"units": 4},
        {"kind": "lstm"},
        {"window": 0},
        {"fitted": {"mean": 0.0, "scale": -1.0}},
        {"margins": {"high": [1.0]}},
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_refused(files, tmp_path, settings):
    path = altered(
        files / "wave.keras", tmp_path / "model.keras", lambda c: c["config"].update(settings)
    )
    with pytest.raises(ModelFileError, match=r"incomplete or corrupt one \(it could not be built"):
        load_model(path)


# Between engines.

WRITER = """
import numpy as np
from test_forecaster_files import SERIES, small, written
written("mlp", "mlp.keras")
written("lstm", "lstm.keras")
"""


def written(kind, path):
    """Train a little and save, in whatever engine; keep the forecasts of the saved model."""
    model = small(kind=kind, scaling="standard", outputs=2)
    model.compile(clipped_optimizer("adam", 0.02))
    model.fit(*windows(SERIES, 6, 2), epochs=2, shuffle=False, verbose=0)
    model.calibrate(SERIES, 5)
    model.save(path)
    ahead = [model.forecast(SERIES, 9), *model.interval(SERIES, 5)]
    model.fit(*windows(SERIES, 6, 2), epochs=1, shuffle=False, verbose=0)
    np.savez(f"{path}.npz", *ahead, model.forecast(SERIES, 9))


@pytest.mark.slow
@pytest.mark.parametrize("other", ENGINES)
def test_a_file_of_any_engine_forecasts_and_trains_on_the_same(tmp_path, other):
    pytest.importorskip(other)
    subprocess.run(
        [sys.executable, "-c", WRITER],
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": other, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        check=True,
        timeout=LONGEST,
    )
    for kind in ("mlp", "lstm"):
        model = load_model(tmp_path / f"{kind}.keras", kind="Forecaster")
        found = [model.forecast(SERIES, 9), *model.interval(SERIES, 5)]
        model.fit(*windows(SERIES, 6, 2), epochs=1, shuffle=False, verbose=0)
        with np.load(tmp_path / f"{kind}.keras.npz") as kept:
            for one, expected in zip(
                (*found, model.forecast(SERIES, 9)), kept.values(), strict=True
            ):
                np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-3)


def test_half_precision_keeps_a_mean_of_1000_apart_from_its_decimals(tmp_path):
    series = 1000 + noisy_sine(100)
    exact = Forecaster("mlp", 8, scaling="standard")
    exact.adapt(series)
    half = Forecaster("mlp", 8, scaling="standard", dtype="mixed_bfloat16")
    half.adapt(series)
    half.set_weights(exact.get_weights())
    half.save(tmp_path / "half.keras")

    for model in (half, load_model(tmp_path / "half.keras")):
        np.testing.assert_allclose(model.forecast(series, 1), exact.forecast(series, 1), atol=0.02)


@pytest.mark.parametrize("kind", ["mlp", "lstm"])
def test_pairs_of_float64_train_as_those_of_float32_do(kind):
    found = []
    for dtype in ("float64", "float32"):
        x, y = windows(noisy_sine(80).astype(dtype), 8)
        model = Forecaster(kind, 8, scaling="window")
        model.compile()
        model.fit(x, y, validation_data=(x, y), verbose=0)
        found.append(model.forecast(noisy_sine(80), 4))

    np.testing.assert_allclose(*found, atol=1e-5)
