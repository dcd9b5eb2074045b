"""Numbers that cannot go wrong silently: ids, weights, losses, gradients, logits."""

import keras
import numpy as np
import pytest
from language_cases import VOCAB, V, draw_ids, tiny, to_numpy

import kseq
from kseq.generation import Sampling, generate_ids
from kseq.nn.watching import MOST_SKIPPED, RARELY, StepWatch

GOOD = draw_ids(24).reshape(2, 12)
BAD = {"below": -1, "beyond": V}


def with_one(value, ids=GOOD):
    ruined = ids.copy()
    ruined[1, 3] = value
    return ruined


def compiled(optimizer=None, **options):
    model = tiny("gru", **options)
    model.compile(optimizer)
    return model


# Ids.
@pytest.mark.parametrize("use", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
@pytest.mark.parametrize("wrong", BAD.values(), ids=BAD)
def test_an_array_with_an_id_outside_the_vocabulary_is_refused_in_inputs_and_targets(use, wrong):
    model = compiled()
    before = model.get_weights()
    for pair in ((with_one(wrong), GOOD), (GOOD, with_one(wrong))):
        with pytest.raises(kseq.DataError, match=rf"^[xy]: .* 0 to {V - 1}, found .*{wrong}.*; "):
            getattr(model, use)(*pair)
    assert all(map(np.array_equal, before, model.get_weights()))


@pytest.mark.parametrize("wrong", BAD.values(), ids=BAD)
def test_so_it_is_for_validation_and_predictions_and_calls(wrong):
    model = compiled()
    with pytest.raises(kseq.DataError, match=r"^validation_data: "):
        model.fit(GOOD, GOOD, validation_data=(GOOD, with_one(wrong)), verbose=0)
    for call in (model.predict, model):
        with pytest.raises(kseq.DataError, match="found"):
            call(with_one(wrong))


def test_what_is_in_the_vocabulary_passes():
    model = compiled()
    model.fit(GOOD, GOOD, validation_data=(GOOD, GOOD), verbose=0)
    assert np.isfinite(model.evaluate(GOOD, GOOD, verbose=0)).all()
    assert np.isfinite(model.predict(GOOD, verbose=0)).all()


@pytest.mark.parametrize("batches", [kseq.SequentialBatches, kseq.RandomBatches])
def test_batches_are_checked_when_they_are_made_and_when_they_meet_a_model(batches):
    with pytest.raises(kseq.DataError, match="must be 0 or more, found -1 at index 15"):
        batches(with_one(-1).ravel(), 2, 5)
    model = compiled()
    for learn in (model.fit, model.evaluate):
        with pytest.raises(kseq.DataError, match="must be below the vocabulary"):
            learn(batches(with_one(V).ravel(), 2, 5), verbose=0)


@pytest.mark.usefixtures("recurrences")
@pytest.mark.parametrize("length", [1, 20])
@pytest.mark.parametrize("wrong", BAD.values(), ids=BAD)
def test_generation_reads_no_prompt_with_an_id_outside(wrong, length):
    prompt = np.array([*[1] * (length - 1), wrong], "int32")
    with pytest.raises(kseq.DataError, match=rf"^ids: must be tokens .*{wrong}"):
        next(generate_ids(tiny("gru").decoder(), [prompt], 5, Sampling()))


# Sample weights.
WRONG_WEIGHTS = {"negative": -0.5, "nan": np.nan, "inf": np.inf}


@pytest.mark.parametrize("wrong", WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_sample_weights_are_refused_by_fit_and_evaluate(wrong):
    series = kseq.noisy_sine(30)
    forecaster = kseq.Forecaster("mlp", units=3)
    forecaster.compile()
    cases = [(compiled(), (GOOD, GOOD)), (forecaster, kseq.windows(series, window=4))]
    for model, pair in cases:
        weights = np.ones(len(pair[0]), "float32")
        weights[1] = wrong
        tries = [
            lambda m, p, w: m.fit(*p, sample_weight=w, verbose=0),
            lambda m, p, w: m.evaluate(*p, sample_weight=w, verbose=0),
            lambda m, p, w: m.fit(*p, validation_data=(*p, w), verbose=0),
        ]
        for attempt in tries:
            with pytest.raises(kseq.DataError, match=r"^sample_weight: .* at index 1 "):
                attempt(model, pair, weights)


@pytest.mark.parametrize("wrong", WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_a_metric_refuses_weights_in_arrays_and_shows_them_in_tensors(wrong):
    metric = kseq.Perplexity()
    logits, weights = np.zeros((2, 12, V), "float32"), np.array([1.0, wrong], "float32")
    for given in (weights, weights.tolist()):
        with pytest.raises(kseq.DataError, match="at index 1"):
            metric.update_state(GOOD, logits, given)
    metric.update_state(GOOD, logits, np.array([0.0, 2.0], "float32"))
    assert float(metric.result()) == pytest.approx(V, rel=1e-6)
    metric.update_state(GOOD, logits, keras.ops.convert_to_tensor(weights))
    assert np.isnan(float(metric.result()))


# Losses and gradients.
class Watching(keras.callbacks.Callback):
    """Calls a `StepWatch` as a trainer does: with logs, or without."""

    def __init__(self, with_logs=True):
        super().__init__()
        self.with_logs, self.steps = with_logs, []

    def on_train_begin(self, logs=None):
        self.watch = StepWatch(self.model)

    def on_epoch_begin(self, epoch, logs=None):
        self.watch.start(epoch)

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(batch)
        self.watch.check(batch, logs if self.with_logs else None)

    def on_epoch_end(self, epoch, logs=None):
        self.watch.check_weights()


def dense(optimizer, steps=4):
    """Give a model of two weights and inputs for so many steps of one row."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(optimizer, "mse")
    model.set_weights([np.ones((2, 1))])
    return model, np.full((steps, 2), 2.0, "float32"), np.zeros((steps, 1), "float32")


def watched(model, x, y, epochs=1, with_logs=True):
    watching = Watching(with_logs)
    options = {"batch_size": 1, "shuffle": False, "verbose": 0, "callbacks": [watching]}
    model.fit(x, y, epochs=epochs, **options)
    return watching


@pytest.mark.parametrize("wrong", ["nan", "inf"])
@pytest.mark.parametrize("guarded", [True, False])
def test_a_loss_that_is_not_finite_ends_the_run_with_its_step(wrong, guarded):
    model, x, y = dense(kseq.clipped_optimizer("sgd", 0.1) if guarded else keras.optimizers.SGD())
    y[2] = float(wrong)
    found = rf"^loss: must stay finite, found {wrong} in step 3 of epoch 1; lower the learning rate"
    with pytest.raises(kseq.NumericalError, match=found):
        watched(model, x, y)
    if guarded:
        assert np.isfinite(model.get_weights()[0]).all()


def test_an_optimizer_without_a_guard_that_diverges_is_seen():
    # Each step multiplies the output by 1 - 16 rate, until its square leaves float32.
    model, x, y = dense(keras.optimizers.SGD(1e6), steps=20)
    with pytest.raises(kseq.NumericalError, match=r"^loss: must stay finite, found inf in step 4 "):
        watched(model, x, y)


def test_weights_ruined_by_the_last_step_are_seen_and_named():
    model, x, y = dense(keras.optimizers.SGD(1e38), steps=1)
    y[:] = -1e10
    with pytest.raises(kseq.NumericalError, match=r"^weights: .* in .*/kernel after epoch 1; "):
        watched(model, x, y)


@pytest.mark.parametrize("with_logs", [True, False])
def test_without_logs_the_running_total_is_looked_at(with_logs):
    model, x, y = dense(keras.optimizers.SGD(0.01), steps=2 * RARELY + 5)
    y[RARELY + 2] = np.nan
    every = 1 if keras.backend.backend() == "torch" else RARELY
    where = f"steps {RARELY + 1} to {2 * RARELY}" if every > 1 else f"step {RARELY + 3}"
    where = f"step {RARELY + 3}" if with_logs else where
    with pytest.raises(kseq.NumericalError, match=f"found nan in {where} of epoch 1"):
        watched(model, x, y, with_logs=with_logs)


def skipping(steps, bad):
    """Give a guarded model whose gradient overflows in some steps though the loss does not."""
    model, x, y = dense(kseq.clipped_optimizer("sgd", 1e-30), steps)
    # The loss is 1e34, the gradient 2e20, whose square is beyond float32.
    x[bad], y[bad] = 1e3, 1e17
    return model, x, y


def test_a_hundred_skipped_steps_in_a_row_end_the_run():
    model, x, y = skipping(MOST_SKIPPED // 2 + 10, slice(None))
    found = rf"^gradients: must be finite, found {MOST_SKIPPED} steps in a row .* of epoch 2; "
    with pytest.raises(kseq.NumericalError, match=found):
        watched(model, x, y, epochs=3)


def test_skipped_steps_with_others_between_go_on():
    steps = 3 * MOST_SKIPPED
    bad = np.arange(steps) % 50 != 0
    model, x, y = skipping(steps, bad)
    watching = watched(model, x, y)
    assert len(watching.steps) == steps
    assert kseq.nn.optimizers.skipped_steps(model.optimizer) == int(bad.sum())


def test_a_language_model_and_a_forecaster_are_watched_too():
    model = compiled()
    model.fit(kseq.SequentialBatches(draw_ids(120), 2, 5), verbose=0, callbacks=[Watching(False)])
    pairs = kseq.windows(kseq.noisy_sine(60), window=4)
    forecaster = kseq.Forecaster("mlp", units=3)
    forecaster.compile()
    forecaster.fit(*pairs, verbose=0, callbacks=[Watching(False)])
    forecaster.network.read_out.kernel.assign(np.full((3, 1), np.nan, "float32"))
    with pytest.raises(kseq.NumericalError, match=r"^(loss|weights): must stay finite, found"):
        forecaster.fit(*pairs, verbose=0, callbacks=[Watching(False)])


# Half precision.
def test_the_cross_entropy_of_bfloat16_is_taken_in_float32():
    exact, half = (tiny("gru", seed=1, dtype=dtype) for dtype in ("float32", "mixed_bfloat16"))
    for model in (exact, half):
        model.compile()
    logits = half(GOOD)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    nats = to_numpy(keras.losses.sparse_categorical_crossentropy(GOOD, logits, from_logits=True))
    loss, perplexity = half.evaluate(GOOD, GOOD, verbose=0)
    assert loss == pytest.approx(float(nats.mean()), rel=1e-5)
    assert perplexity == pytest.approx(float(np.exp(nats.mean())), rel=1e-5)
    assert loss == pytest.approx(exact.evaluate(GOOD, GOOD, verbose=0)[0], rel=5e-3)


def test_float16_learns_under_a_scaled_loss_as_float32_does():
    """Keras scales the loss by itself, from 2^15 on; ours is built on the optimizer within."""
    losses = {}
    for dtype in ("float32", "mixed_float16"):
        model = tiny("gru", seed=1, dtype=dtype)
        model.compile(kseq.clipped_optimizer("adam", 0.01))
        batches = kseq.SequentialBatches(draw_ids(300), 4, 10)
        losses[dtype] = model.fit(batches, epochs=3, verbose=0).history["loss"]
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert losses["mixed_float16"] == pytest.approx(losses["float32"], rel=5e-3)


def test_steps_that_a_scaled_loss_skips_are_watched_too():
    inner = kseq.clipped_optimizer("sgd", 1e-30)
    model, x, y = dense(keras.optimizers.LossScaleOptimizer(inner, initial_scale=1e38), 40)
    # A hundred halvings of the scale later the gradient is still beyond float32.
    x[:], y[:] = 1e3, 1e18
    before = model.get_weights()
    with pytest.raises(kseq.NumericalError, match="steps in a row that were skipped"):
        watched(model, x, y, epochs=10, with_logs=False)
    assert all(map(np.array_equal, before, model.get_weights()))


def test_a_model_whose_weights_are_not_numbers_writes_no_text():
    model = tiny("gru")
    model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])
    for temperature in (0.0, 1.0):
        with pytest.raises(kseq.NumericalError, match=r"^logits: must be numbers"):
            model.generate(VOCAB.idx_to_token[1], 5, temperature=temperature)
