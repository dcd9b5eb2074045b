"""Planned steps against Keras's own: weights, histories, what callbacks see, and what is left."""

import keras
import numpy as np
import pytest
from language_cases import V, draw_ids, tiny, to_numpy

import kseq
from kseq.nn import programs, stepping

pytestmark = pytest.mark.engine("torch")

SERIES = kseq.noisy_sine(60)
PAIRS = kseq.windows(SERIES, window=4)
OPTIMIZERS = {
    "sgd": lambda: kseq.clipped_optimizer("sgd", 0.1),
    "momentum": lambda: kseq.clipped_optimizer("sgd", 0.1, momentum=0.9),
    "nesterov": lambda: kseq.clipped_optimizer("sgd", 0.1, momentum=0.9, nesterov=True),
    "adam": lambda: kseq.clipped_optimizer("adam", 0.01),
    "adamw": lambda: kseq.clipped_optimizer("adamw", 0.01, weight_decay=0.1),
    "rmsprop": lambda: kseq.clipped_optimizer("rmsprop", 0.01),
    "tight": lambda: kseq.clipped_optimizer("adam", 0.01, global_clipnorm=0.01),
    "each": lambda: kseq.clipped_optimizer("sgd", 0.5, clipnorm=0.05),
    "schedule": lambda: kseq.clipped_optimizer("adam", kseq.schedule("one_cycle", 0.01, 40)),
    "keras_adam": lambda: keras.optimizers.Adam(0.01),
    "keras_value": lambda: keras.optimizers.SGD(0.1, clipvalue=0.001),
    "keras_global": lambda: keras.optimizers.RMSprop(0.01, global_clipnorm=0.01),
    "keras_decay": lambda: keras.optimizers.SGD(0.1, weight_decay=0.01),
    "amsgrad": lambda: keras.optimizers.Adam(0.01, amsgrad=True),
    "centered": lambda: keras.optimizers.RMSprop(0.01, centered=True, momentum=0.5),
    "ema": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3),
    "accumulated": lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=2),
    "scaled": lambda: keras.optimizers.SGD(0.1, loss_scale_factor=8.0),
    "lion": lambda: keras.optimizers.Lion(0.01),
}


class BatchLogs(keras.callbacks.Callback):
    """Collects what Keras tells at each batch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.append(("begin", batch, {}))

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(("end", batch, dict(logs)))

    def on_test_batch_end(self, batch, logs=None):
        self.seen.append(("test", batch, dict(logs)))


@pytest.fixture
def by_keras(monkeypatch):
    """Run a function with Keras's own steps."""

    def run(function):
        with monkeypatch.context() as patched:
            patched.setattr("kseq.nn.carrying.planned_step", lambda model, training: None)
            patched.setattr("kseq.nn.carrying.steps_are_planned", lambda: False)
            return function()

    return run


def count_planned(monkeypatch):
    """Give a list that grows by one with each batch that Keras's step had to take."""
    left = []
    step = stepping.PlannedStep._step_of_keras
    monkeypatch.setattr(
        stepping.PlannedStep,
        "_step_of_keras",
        lambda self, batch: left.append(batch) or step(self, batch),
    )
    return left


def fit_forecaster(kind="mlp", optimizer="adam", epochs=2, **options):
    # Keras orders what is weighted by the engine's own generator.
    keras.utils.set_random_seed(0)
    fit = {"validation_data": PAIRS, **options.pop("fit", {})}
    of_model = ("scaling", "window", "num_layers")
    make = {name: options.pop(name) for name in of_model if name in options}
    model = kseq.Forecaster(kind, **{"window": 4, "units": 5, **make})
    model.compile(OPTIMIZERS[optimizer](), **options)
    data = PAIRS
    if model.every_step:
        data = fit["validation_data"] = (SERIES[None, :-1, None], SERIES[None, 1:, None])
    history = model.fit(*data, batch_size=16, epochs=epochs, verbose=0, **fit)
    return model, history.history


def fit_language_model(cell="gru", optimizer="adam", batches=kseq.SequentialBatches, **options):
    fit = options.pop("fit", {})
    compiled = options.pop("compiled", {})
    model = tiny(cell, **options)
    model.compile(OPTIMIZERS[optimizer](), **compiled)
    held_out = batches(draw_ids(60, 1), 2, 5)
    history = model.fit(
        batches(draw_ids(120), 3, 5), epochs=2, verbose=0, validation_data=held_out, **fit
    )
    return model, history.history


def assert_same_run(found, expected, tolerance=1e-6):
    (model, history), (other, of_keras) = found, expected
    assert list(history) == list(of_keras)
    for name, values in history.items():
        assert all(type(value) is float for value in values)
        np.testing.assert_allclose(values, of_keras[name], rtol=2e-5, err_msg=name)
    pairs = zip(model.get_weights(), other.get_weights(), strict=True)
    for one, two in pairs:
        np.testing.assert_allclose(one, two, atol=tolerance, rtol=1e-6)
    state = zip(model.optimizer.variables, other.optimizer.variables, strict=True)
    for one, two in state:
        np.testing.assert_allclose(to_numpy(one), to_numpy(two), atol=tolerance, rtol=1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_forecaster_gets_the_weights_of_kerass_steps(optimizer, by_keras):
    found = fit_forecaster(optimizer=optimizer, metrics=["mae"])

    assert_same_run(found, by_keras(lambda: fit_forecaster(optimizer=optimizer, metrics=["mae"])))


@pytest.mark.parametrize(
    "options",
    [
        {"metrics": ["mae", "mse", keras.metrics.RootMeanSquaredError(), "cosine_similarity"]},
        {"loss": "mae", "weighted_metrics": ["mse"]},
        {"loss": keras.losses.Huber()},
        {"loss": keras.losses.MeanSquaredError(reduction="sum")},
        {"loss": "mse", "loss_weights": [2.0]},
        {"scaling": "standard", "metrics": ["mae"]},
        {"scaling": "window", "metrics": ["mae"]},
        {"kind": "gru", "num_layers": 2, "metrics": ["mae"]},
        {"kind": "lstm", "window": None, "metrics": ["mae"]},
        {"fit": {"sample_weight": np.linspace(0, 1, len(PAIRS[0]), dtype="float32")}},
        {"fit": {"validation_freq": 2, "initial_epoch": 1}},
        {"fit": {"steps_per_epoch": 2}},
        {"fit": {"validation_data": None, "validation_split": 0.3, "shuffle": False}},
    ],
    ids=[
        *("metrics", "mae", "huber", "sum", "loss_weights", "standard", "window", "gru"),
        *("every_step", "sample_weight", "epochs", "steps", "split"),
    ],
)
def test_other_settings_of_a_forecaster_give_kerass_results(options, by_keras):
    assert_same_run(fit_forecaster(**options), by_keras(lambda: fit_forecaster(**options)))


@pytest.mark.parametrize(
    "options",
    [
        {"cell": "simple_rnn"},
        {"cell": "lstm", "num_layers": 2},
        {"cell": "gru", "optimizer": "sgd", "embedding_dim": 4},
        {"cell": "lstm", "tie_weights": True, "optimizer": "adamw"},
        {"cell": "gru", "num_layers": 2, "dropout": 0.3},
        {"cell": "gru", "batches": kseq.RandomBatches},
        {"cell": "scratch_gru", "num_layers": 2},
        {"cell": "gru", "compiled": {"metrics": [kseq.BitsPerToken(), kseq.Perplexity()]}},
        {"cell": "gru", "compiled": {"metrics": ["accuracy"]}},
    ],
    ids=[
        *("simple_rnn", "lstm", "embedding", "tied", "dropout", "random", "scratch"),
        *("bits", "accuracy"),
    ],
)
def test_a_language_model_gets_the_weights_of_kerass_steps(options, by_keras):
    found, expected = fit_language_model(**options), by_keras(lambda: fit_language_model(**options))

    assert_same_run(found, expected, tolerance=5e-6)


@pytest.mark.engine("torch")
@pytest.mark.parametrize("straight", [True, False])
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_one_pass_over_many_weights_gives_kerass_whatever_their_strides(
    optimizer, straight, by_keras, monkeypatch
):
    from kseq.backend import torch_updates

    def fit():
        model = tiny("gru")
        for variable in model.trainable_variables:
            if not straight and len(variable.shape) == 2:
                variable.value.data = variable.value.detach().t().contiguous().t()
        model.compile(OPTIMIZERS[optimizer]())
        history = model.fit(kseq.SequentialBatches(draw_ids(120), 3, 5), epochs=2, verbose=0)
        return model, history.history

    monkeypatch.setattr(torch_updates, "FUSED_FROM", 1)
    assert_same_run(fit(), by_keras(fit), tolerance=5e-6)


@pytest.mark.engine("torch")
def test_initial_weights_lie_in_memory_from_front_to_back():
    assert all(v.value.is_contiguous() for v in tiny("lstm").trainable_variables)


def test_in_bfloat16_the_loss_is_kerass_to_its_precision(by_keras):
    options = {"dtype": "mixed_bfloat16", "num_layers": 2}
    _, found = fit_language_model(**options)
    _, expected = by_keras(lambda: fit_language_model(**options))

    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=5e-3)


@pytest.mark.parametrize("fit", [fit_forecaster, fit_language_model])
def test_keras_takes_no_step_that_is_planned(fit, monkeypatch):
    left = count_planned(monkeypatch)
    model, _ = fit()

    assert not left
    assert stepping.planned_step(model, training=True) is not None


@pytest.mark.parametrize("fit", [fit_forecaster, fit_language_model])
def test_batch_callbacks_see_what_keras_tells_them(fit, by_keras):
    ours, of_keras = BatchLogs(), BatchLogs()
    fit(fit={"callbacks": [ours]})
    by_keras(lambda: fit(fit={"callbacks": [of_keras]}))

    assert [event[:2] for event in ours.seen] == [event[:2] for event in of_keras.seen]
    for (*_, found), (*_, expected) in zip(ours.seen, of_keras.seen, strict=True):
        assert list(found) == list(expected)
        assert all(type(value) is float for value in found.values())
        np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=2e-5)


@pytest.mark.parametrize("event", ["on_epoch_begin", "on_train_batch_begin"])
def test_layers_frozen_by_a_callback_stay_as_they_are(event):
    def freeze(at, logs):
        if at == 1:
            model.network.read_out.trainable = False
            frozen.append([w.copy() for w in model.network.read_out.get_weights()])

    model, frozen = kseq.Forecaster("mlp", units=5), []
    model.compile()
    model.fit(
        *PAIRS, epochs=2, verbose=0, callbacks=[keras.callbacks.LambdaCallback(**{event: freeze})]
    )

    for before, after in zip(frozen[0], model.network.read_out.get_weights(), strict=True):
        np.testing.assert_array_equal(after, before)


def test_a_step_that_is_not_finite_changes_nothing_but_its_count():
    model = kseq.Forecaster("mlp", units=5)
    model.compile()
    model.train_on_batch(*PAIRS)
    count = model.optimizer.skipped_steps
    kept = [v for v in model.optimizer.variables if v is not count]
    before = [*model.get_weights(), *map(to_numpy, kept)]
    model.train_on_batch(np.full((2, 4), np.inf, "float32"), np.ones((2, 1), "float32"))
    after = [*model.get_weights(), *map(to_numpy, kept)]

    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    assert kseq.nn.optimizers.skipped_steps(model.optimizer) == 1


def test_a_class_of_a_users_own_keeps_its_own_step(monkeypatch):
    class Doubled(kseq.Forecaster):
        def compute_loss(self, *args, **kwargs):
            return 2 * super().compute_loss(*args, **kwargs)

    losses = []
    for cls in (kseq.Forecaster, Doubled):
        model = cls("mlp", units=5)
        model.compile()
        losses.append(model.train_on_batch(*PAIRS))

    np.testing.assert_allclose(losses[1], 2 * np.array(losses[0]), rtol=1e-6)


def test_regularizers_are_kept():
    plain, held = kseq.Forecaster("mlp", units=5), kseq.Forecaster("mlp", units=5)
    held.network.read_out.kernel.regularizer = keras.regularizers.L2(0.5)
    for model in (plain, held):
        model.compile()
    penalty = 0.5 * np.sum(held.network.read_out.get_weights()[0] ** 2)

    difference = held.train_on_batch(*PAIRS) - plain.train_on_batch(*PAIRS)
    np.testing.assert_allclose(difference, penalty, rtol=1e-4)


@pytest.mark.parametrize(("inputs", "targets"), [(0, V), (V, 0), (-V, 0), (0, -V)])
def test_ids_outside_the_vocabulary_are_left_to_keras(inputs, targets):
    model = tiny("gru")
    model.compile()
    ids = draw_ids(8).reshape(2, 4)
    pair = map(keras.ops.convert_to_tensor, (ids + inputs, ids + targets))

    assert not programs.TokenProgram.of(model).suits(*pair)


def test_a_metric_of_tokens_on_a_forecaster_is_kerass_to_update():
    model = kseq.Forecaster("mlp", units=5, outputs=3)
    model.compile(metrics=[kseq.Perplexity()])

    assert not programs.SeriesProgram.of(model).gives_nats


@pytest.mark.slow
@pytest.mark.engine("torch")
@pytest.mark.usefixtures("recurrences")
@pytest.mark.parametrize("cell", ["simple_rnn", "gru", "lstm"])
def test_what_is_switched_on_by_size_changes_nothing(cell, by_keras):
    """Small models do not reach the fused updates, the threads and the packed products."""
    ids = np.random.default_rng(0).integers(1, 28, 32 * 35 * 3 + 1)

    def fit():
        vocab = kseq.Vocab([chr(97 + i) for i in range(27)])
        model = kseq.LanguageModel(vocab, cell=cell, units=256, num_layers=2, seed=1)
        model.compile(kseq.clipped_optimizer("adam", 0.002))
        history = model.fit(kseq.SequentialBatches(ids, 32, 35), epochs=2, verbose=0)
        return model, history.history

    # Measured: 3e-6, for Adam divides by second moments that are near zero.  A step is 2e-3.
    assert_same_run(fit(), by_keras(fit), tolerance=1e-5)
