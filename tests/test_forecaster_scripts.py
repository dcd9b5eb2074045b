"""scripts/train_forecaster.py and compare_forecasters.py, as a user would run them."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import kseq
from kseq.data.baselines import AutoRegression, Mean, Persistence
from kseq.experiments.ablation import FORECASTERS, compare_forecasters
from kseq.experiments.plan import Plan

pytestmark = pytest.mark.engine("torch")

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


def run(patch, name, *words):
    said = []
    patch.setattr("builtins.print", lambda *parts, **_: said.append(" ".join(map(str, parts))))
    main = runpy.run_path(str(SCRIPTS / f"{name}.py"))["main"]
    main([*words])
    return said


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a saved forecaster, and what the script said on the way."""
    folder = tmp_path_factory.mktemp("scripts")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        said = run(patch, "train_forecaster", "--epochs", "1", "--out", "sine.keras")
    return folder, said


def test_training_tells_the_errors_ahead_and_the_skill(trained):
    lines = trained[1]
    model = kseq.load_model(trained[0] / "sine.keras")
    series = kseq.noisy_sine(1000, seed=0)
    errors = kseq.k_step(model, series, steps=(1, 4, 16, 64)).rmse(series, first=604)

    assert lines[:4] == [
        f"{steps:2} steps ahead: root mean square error {error:.3f}"
        for steps, error in errors.items()
    ]
    skill = kseq.backtest(model, series, horizon=16, start=604).skill["mean of last 4"]
    assert lines[4] == f"skill against averaging four points: {skill:.2f}"
    assert lines[5] == f"the next four points: {model.forecast(series, horizon=4).round(2)}"


def test_the_saved_forecaster_is_the_book_s(trained):
    facts = kseq.inspect_model(trained[0] / "sine.keras")

    assert (facts["kind"], facts["parameters"]) == ("Forecaster", 61)
    assert (facts["settings"]["window"], facts["settings"]["units"]) == (4, 10)
    assert facts["provenance"]["epochs"] == 1


def test_comparing_prints_a_row_for_each_forecaster_that_was_asked_for(monkeypatch):
    lines = run(monkeypatch, "compare_forecasters", "--seeds", "2", "--only", "ridge")
    rows = ["direct AR(64), ridge 10", "direct AR(128), ridge 10", "direct AR(192), ridge 10"]
    means = [errors.mean(axis=0) for errors in compare_forecasters([0, 1], rows).values()]

    assert lines[0].split() == ["mean", "of", "2", "seeds", "1", "step", "16", "64"]
    assert lines[1:] == [
        f"{name:52}" + "".join(f"{error:9.4f}" for error in mean)
        for name, mean in zip(rows, means, strict=True)
    ]


def test_rows_of_baselines_are_their_errors_over_the_seeds():
    told = {}
    rows = {"persistence": Persistence(), "mean of last 4": Mean(4)}
    rows["AR(4)"] = AutoRegression(4, direct=True)
    found = compare_forecasters([0, 5], list(rows), told.__setitem__)

    assert list(found) == list(told) == list(rows)
    for name, row in rows.items():
        for errors, seed in zip(found[name], (0, 5), strict=True):
            series = kseq.noisy_sine(1000, seed)
            expected = kseq.errors_ahead(row.fit(series[:600]), series, 64, 600)
            np.testing.assert_allclose(errors, expected[[0, 15, 63]], rtol=1e-12)


def test_every_row_that_is_trained_reads_the_first_600_points():
    plans = [row for row in FORECASTERS.values() if isinstance(row, Plan)]

    assert len(plans) == len(FORECASTERS) - 6
    assert {plan.train for plan in plans} == {600}
    assert {plan.keep for plan in plans} == {"last"}


@pytest.mark.slow
def test_ours_reaches_what_was_promised():
    name = next(name for name in FORECASTERS if name.startswith("ours"))
    errors = compare_forecasters(range(20), [name])[name].mean(axis=0)

    assert errors[0] <= 0.211
    assert errors[2] <= 0.214
