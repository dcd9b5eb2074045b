"""Averaged SGD: the mean of the weights, when it begins, and that it is judged, kept and saved."""

import keras
import numpy as np
import pytest
from language_cases import draw_ids, same, tiny, to_numpy

import kseq
from kseq.errors import UsageError
from kseq.nn.averaging import JudgeAverage, averaged_weights, begin_anew, is_stuck

IS_TORCH = keras.backend.backend() == "torch"
BATCHES = (draw_ids(120), 3, 5)


def compiled(nonmonotone=1, rate=0.5, **options):
    model = tiny("gru")
    model.compile(kseq.clipped_optimizer("asgd", rate, nonmonotone=nonmonotone, **options))
    return model


def averages_of(model):
    return [to_numpy(average) for average in model.optimizer.averages]


class Iterates(keras.callbacks.Callback):
    """Collects the weights after each step."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        weights = [to_numpy(v.value) for v in self.model.trainable_variables]
        self.weights.append([w.copy() for w in weights])


@pytest.mark.parametrize("planned", [True, False] if IS_TORCH else [False])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}] if IS_TORCH else [{}], ids=str)
def test_the_mean_is_that_of_the_weights_since_it_was_begun(planned, options, monkeypatch):
    if not planned:
        monkeypatch.setattr("kseq.nn.carrying.planned_step", lambda model, training: None)
    model, steps = compiled(**options), Iterates()
    plain = tiny("gru")
    plain.compile(kseq.clipped_optimizer("sgd", 0.5, **options))
    before = Iterates()
    model.fit(kseq.SequentialBatches(*BATCHES), epochs=1, verbose=0, callbacks=[before])
    assert all((average == 0).all() for average in averages_of(model))
    model.optimizer.start_averaging()
    model.fit(kseq.SequentialBatches(*BATCHES), epochs=1, verbose=0, callbacks=[steps])

    expected = [np.mean(weights, axis=0) for weights in zip(*steps.weights, strict=True)]
    for found, mean in zip(averages_of(model), expected, strict=True):
        np.testing.assert_allclose(found, mean, rtol=1e-5, atol=1e-6)
    assert int(to_numpy(model.optimizer.averaged_steps)) == len(steps.weights)
    for _ in range(2):
        plain.fit(kseq.SequentialBatches(*BATCHES), epochs=1, verbose=0)
    for found, weight in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(found, weight, atol=1e-6)


def test_a_step_that_is_skipped_is_in_no_mean():
    model = compiled()
    model.optimizer.start_averaging()
    variables = model.trainable_variables
    model.optimizer.apply([np.full(v.shape, np.nan, "float32") for v in variables], variables)
    assert int(to_numpy(model.optimizer.averaged_steps)) == 0
    assert all((average == 0).all() for average in averages_of(model))


@pytest.mark.engine("torch")
@pytest.mark.parametrize(
    ("losses", "stuck"),
    [
        ([1.0], False),
        ([2.0, 1.0, 3.0], False),  # 1.0 is one of the two last before it, and 2.0 is not in reach
        ([2.0, 1.0, 1.5, 1.6], False),
        ([1.0, 2.0, 2.0, 1.1], True),
        ([1.0, 2.0, 2.0, 0.9], False),
        ([1.0, 1.0, 1.0, 1.0], True),
        ([1.0, 2.0, 2.0, float("nan")], True),
    ],
)
def test_it_is_time_when_a_loss_is_above_the_best_of_the_early_ones(losses, stuck):
    assert is_stuck(losses, nonmonotone=2) == stuck


def trained(folder=None, epochs=6, keep="last", **options):
    """Train where judging soon shows no gain: a high rate, and another text to be judged on."""
    model = compiled(rate=3.0, global_clipnorm=5.0)
    judged = kseq.SequentialBatches(draw_ids(60, 1), 2, 5)
    run = kseq.train(
        model,
        kseq.SequentialBatches(*BATCHES),
        epochs,
        validation=judged,
        run_dir=folder,
        keep=keep,
        **options,
    )
    return model, run


def test_a_training_judges_keeps_and_saves_the_mean(tmp_path):
    model, run = trained()
    losses = [record["val_loss"] for record in run.records]
    begun = next(n for n in range(1, 6) if is_stuck(losses[:n], 1))
    steps = len(kseq.SequentialBatches(*BATCHES))
    assert begun < 6
    assert int(to_numpy(model.optimizer.averaged_steps)) == (6 - begun) * steps
    # The model ends with the mean, of which the last held-out loss is.
    assert same(model.get_weights(), averages_of(model))
    judged = model.evaluate(kseq.SequentialBatches(draw_ids(60, 1), 2, 5), verbose=0)
    np.testing.assert_allclose(judged[0], losses[-1], rtol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = kseq.load_model(tmp_path / "model.keras")
    assert same(loaded.get_weights(), model.get_weights())
    assert same(averages_of(loaded), averages_of(model))
    assert loaded.optimizer.nonmonotone == 1


def test_patience_is_for_the_mean(tmp_path):
    _, run = trained(tmp_path / "patient", epochs=30, patience=1)
    averaged = [record["averaged"] for record in run.records]
    begun = averaged.index(True)
    assert begun > 1
    assert all(averaged[begun:])
    losses = [record["val_loss"] for record in run.records]
    assert is_stuck(losses[:begun], 1)
    assert run.stopped_early
    assert len(losses) - max(run.best_epoch, begun) == 1


def test_other_optimizers_say_nothing_of_a_mean():
    model = tiny("gru", seed=1)
    model.compile()
    run = kseq.train(model, kseq.SequentialBatches(*BATCHES), 1)
    assert "averaged" not in run.records[0]


def test_samples_on_the_way_are_of_the_mean():
    model, run = trained(prompts=["a"], sample_every=1)
    assert run.records[-1]["samples"] == model.generate(["a"], 50)


def test_the_best_weights_are_those_that_were_judged():
    model, run = trained(keep="best")
    judged = model.evaluate(kseq.SequentialBatches(draw_ids(60, 1), 2, 5), verbose=0)
    best = run.records[run.best_epoch - 1]["val_loss"]
    np.testing.assert_allclose(judged[0], best, rtol=1e-5)
    assert same(averaged_weights(tiny("gru", seed=1) if False else model), averages_of(model))


@pytest.mark.engine("torch")
@pytest.mark.parametrize("value", [0, 1.5, "x"])
def test_what_is_no_number_of_epochs_is_refused(value):
    with pytest.raises(UsageError, match="nonmonotone: must be a whole number, at least 1"):
        compiled(nonmonotone=value)


@pytest.mark.engine("torch")
@pytest.mark.parametrize("value", [0, -1, 1.5, "x", None, [1], 1e300])
def test_a_file_with_a_hostile_number_of_epochs_is_refused(value, tmp_path, monkeypatch):
    model = compiled()
    config = model.optimizer.get_config()
    with monkeypatch.context() as patch:
        patch.setattr(
            type(model.optimizer), "get_config", lambda _: {**config, "nonmonotone": value}
        )
        model.save(tmp_path / "model.keras")
    with pytest.raises(kseq.ModelFileError):
        kseq.load_model(tmp_path / "model.keras")


def test_a_model_left_with_its_means_trains_on_from_its_own_weights():
    """As a training that was stopped while it judged leaves it."""
    model = averaging_model()
    own = model.get_weights()
    judge = JudgeAverage()
    judge.set_model(model)
    judge.on_test_begin()
    assert any(not np.array_equal(a, b) for a, b in zip(own, model.get_weights(), strict=True))
    judge.on_train_begin()
    for one, other in zip(own, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_training_begins_without_the_mean_of_the_one_before():
    model = averaging_model()
    begin_anew(model)
    assert int(keras.ops.convert_to_numpy(model.optimizer.averaged_steps.value)) == -1
    np.testing.assert_array_equal(averaged_weights(model)[0], model.get_weights()[0])
    model.optimizer.start_averaging()
    begin_anew(model)
    assert int(keras.ops.convert_to_numpy(model.optimizer.averaged_steps.value)) == 0


def averaging_model():
    """A small model two steps after its averaging began."""
    model = compiled()
    model.optimizer.build(model.trainable_variables)
    model.optimizer.start_averaging()
    model.fit(kseq.SequentialBatches(*BATCHES), epochs=1, verbose=0)
    return model
