"""What regularises a language model: that it acts, is off in evaluation, and is right."""

import keras
import numpy as np
import pytest
from keras import ops
from language_cases import V, draw_ids, logits_of, same, tiny, to_numpy

import kseq
from kseq.backend import gradient
from kseq.errors import UsageError
from kseq.nn import regularization
from kseq.nn.regularization import NAMES, Regularization, dropout_layer, dropped_weights
from kseq.nn.stack import Stack

EVERYTHING = {
    "dropout": 0.3,
    "dropout_kind": "locked",
    "input_dropout": 0.2,
    "output_dropout": 0.25,
    "embedding_dropout": 0.1,
    "weight_drop": 0.4,
    "activation_l2": 2.0,
    "temporal_l2": 1.0,
}
DROPS = [name for name, value in EVERYTHING.items() if isinstance(value, float) and value < 1]
LAYERS = {"simple_rnn": kseq.SimpleRNN, "gru": kseq.GRU, "lstm": kseq.LSTM}


def in_training(model, ids):
    return logits_of(model, ids, training=True)


# Each of them acts in training and is off in evaluation.


@pytest.mark.parametrize("name", DROPS)
@pytest.mark.parametrize("cell", ["lstm", "scratch_gru"])
def test_it_acts_in_training_alone(name, cell):
    ids = draw_ids(24).reshape(2, 12)
    plain = tiny(cell, num_layers=2, embedding_dim=5)
    model = tiny(cell, num_layers=2, embedding_dim=5, **{name: 0.5})

    assert same(model.get_weights(), plain.get_weights())
    np.testing.assert_array_equal(logits_of(model, ids), logits_of(plain, ids))
    first, second = in_training(model, ids), in_training(model, ids)
    assert not np.allclose(first, logits_of(plain, ids))
    assert not np.allclose(first, second)
    again = tiny(cell, num_layers=2, embedding_dim=5, **{name: 0.5})
    np.testing.assert_array_equal(in_training(again, ids), first)


def test_every_rate_has_a_random_stream_of_its_own():
    model = tiny(num_layers=2, **EVERYTHING)
    states = [tuple(to_numpy(s.state)) for s in model.stack._dropout_streams().values()]
    assert len(states) == len(set(states)) == 1 + 2 + 3


# Locked dropout.


def test_a_locked_mask_is_one_for_all_steps_and_another_for_each_sequence():
    x = np.ones((3, 7, 40), "float32")
    locked = to_numpy(dropout_layer(0.5, 1, locked=True)(x, training=True))
    standard = to_numpy(dropout_layer(0.5, 1)(x, training=True))

    assert (locked == locked[:, :1]).all()
    assert len({row[0].tobytes() for row in locked}) == 3
    assert not (standard == standard[:, :1]).all()
    assert {*np.unique(locked)} == {0.0, 2.0}


@pytest.mark.parametrize(("kind", "constant"), [("locked", True), ("standard", False)])
def test_both_ends_of_a_model_drop_by_its_kind(kind, constant, monkeypatch):
    # Layers that change nothing show the masks.
    monkeypatch.setattr(Stack, "run_recurrent", lambda self, x, state, training: (x, []))
    monkeypatch.setattr(Stack, "_logits", lambda self, x: x)
    monkeypatch.setattr(Stack, "_vectors", lambda self, ids: ops.ones((*ids.shape, 50)))
    ids = np.ones((3, 6), "int32")
    for name in ("input_dropout", "output_dropout"):
        stack = tiny(dropout_kind=kind, **{name: 0.5}).stack
        found = to_numpy(stack(ops.convert_to_tensor(ids), training=True)[0])

        assert (found == found[:, :1]).all() == constant
        assert len({row.tobytes() for row in found}) == 3
        assert (to_numpy(stack(ops.convert_to_tensor(ids))[0]) == 1).all()


@pytest.mark.parametrize("locked", [True, False])
@pytest.mark.parametrize("rate", [0.2, 0.7])
def test_dropout_keeps_the_expectation(locked, rate):
    found = to_numpy(
        dropout_layer(rate, 3, locked)(np.ones((40, 2, 500), "float32"), training=True)
    )

    np.testing.assert_allclose(found.mean(), 1.0, atol=0.04)
    np.testing.assert_allclose((found == 0).mean(), rate, atol=0.02)


# Embedding dropout.


@pytest.mark.parametrize("embedding_dim", [None, 5])
def test_a_type_is_dropped_wherever_it_stands(embedding_dim):
    stack = tiny(embedding_dim=embedding_dim, embedding_dropout=0.5).stack
    ids = ops.convert_to_tensor(np.tile(np.arange(V, dtype="int32"), (4, 3)))
    before = to_numpy(stack._vectors(ids))
    after = to_numpy(stack.ends.enter(ids, stack._vectors(ids), True))

    kept = [np.allclose(after[0, i], 2 * before[0, i]) for i in range(V)]
    assert 0 < sum(kept) < V
    factors = np.where(np.tile(kept, 3), 2.0, 0.0)[None, :, None]
    np.testing.assert_allclose(after, before * factors, rtol=1e-6)
    np.testing.assert_array_equal(
        to_numpy(stack.ends.enter(ids, stack._vectors(ids), False)), before
    )


def test_tied_weights_read_out_through_the_whole_embedding():
    model = tiny("gru", tie_weights=True, embedding_dropout=0.9)
    hidden = np.ones((1, 2, 6), "float32")
    expected = hidden @ to_numpy(model.stack.embedding.embeddings).T
    np.testing.assert_allclose(to_numpy(model.stack._logits(hidden)), expected, rtol=1e-5)


# Weight drop.


def fixed(mask):
    return lambda kernel, training: kernel * ops.convert_to_tensor(mask, dtype=kernel.dtype)


@pytest.mark.parametrize("cell", LAYERS)
def test_kernels_with_dropped_entries_give_values_and_gradients(cell, recurrences):
    rng = np.random.default_rng(0)
    layer = LAYERS[cell](4, return_sequences=True, seed=0)
    x, probe = (rng.normal(size=(2, 5, width)).astype("float32") for width in (3, 4))
    layer.build(x.shape)
    kernel = to_numpy(layer.cell.recurrent_kernel)
    mask = np.where(rng.random(kernel.shape) < 0.5, 0.0, 2.0).astype("float32")

    def loss(tensors, dropped=True):
        vars(layer.cell)["recurrent_kernel"] = tensors[0]
        with dropped_weights(layer.cell, fixed(mask if dropped else mask * 0 + 1), "float32"):
            return ops.sum(ops.multiply(layer(x), probe))

    value, (slope,) = gradient(lambda tensors: loss(tensors), [kernel])
    expected, (unmasked,) = gradient(lambda tensors: loss(tensors, False), [kernel * mask])
    np.testing.assert_allclose(to_numpy(value), to_numpy(expected), rtol=1e-5)
    np.testing.assert_allclose(to_numpy(slope), to_numpy(unmasked) * mask, atol=1e-5)
    way, step = rng.normal(size=kernel.shape).astype("float32"), 2e-3
    ends = [
        float(to_numpy(loss([ops.convert_to_tensor(kernel + s * step * way)]))) for s in (1, -1)
    ]
    np.testing.assert_allclose(
        (to_numpy(slope) * way).sum(), (ends[0] - ends[1]) / (2 * step), rtol=1e-2
    )


@pytest.mark.parametrize(
    ("cell", "names"), [("lstm", ["recurrent_kernel"]), ("scratch_gru", ["W_hz", "W_hr", "W_hh"])]
)
def test_dropped_entries_are_zero_and_the_rest_is_scaled(cell, names):
    model = tiny(cell, units=30, weight_drop=0.4)
    inner = model.stack.recurrent[0].cell
    before = {name: getattr(inner, name) for name in names}
    with model.stack.dropping(0, training=True):
        dropped = {name: to_numpy(getattr(inner, name)) for name in names}
    for name, variable in before.items():
        assert getattr(inner, name) is variable
        zero = dropped[name] == 0
        np.testing.assert_allclose(zero.mean(), 0.4, atol=0.08)
        np.testing.assert_allclose(dropped[name][~zero], to_numpy(variable)[~zero] / 0.6, rtol=1e-5)
    with model.stack.dropping(0, training=False):
        assert getattr(inner, names[0]) is before[names[0]]


@pytest.mark.parametrize("cell", ["gru", "scratch_lstm"])
def test_training_with_dropped_weights_moves_all_of_them(cell):
    model = tiny(cell, weight_drop=0.5)
    model.compile(kseq.clipped_optimizer("sgd", 1.0))
    before = [w.copy() for w in model.get_weights()]
    model.fit(kseq.SequentialBatches(draw_ids(200), 2, 5), epochs=1, verbose=0)
    assert all(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert len(model.trainable_variables) == len(tiny(cell).trainable_variables)


# Penalties.


def test_penalties_are_those_of_numpy():
    rng = np.random.default_rng(0)
    raw, dropped = rng.normal(size=(2, 3, 5, 4)).astype("float32")
    found = regularization.penalty(Regularization(activation_l2=2.0, temporal_l2=3.0), raw, dropped)
    expected = 2 * (dropped**2).mean() + 3 * (np.diff(raw, axis=1) ** 2).mean()
    np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-6)
    one_step = regularization.penalty(Regularization(temporal_l2=1.0), raw[:, :1], dropped)
    assert float(to_numpy(one_step)) == 0
    assert regularization.penalty(Regularization(), raw, dropped) is None


@pytest.mark.parametrize("name", ["activation_l2", "temporal_l2"])
def test_a_penalty_is_in_the_training_loss_and_in_nothing_else(name):
    figures = {}
    for weight in (0.0, 5.0):
        model = tiny("gru", **{name: weight})
        model.compile(kseq.clipped_optimizer("sgd", 1e-6))
        batches = kseq.SequentialBatches(draw_ids(60), 2, 5)
        figures[weight] = model.fit(batches, epochs=1, verbose=0, validation_data=batches).history
    assert figures[5.0]["loss"][0] > figures[0.0]["loss"][0] + 1e-4
    for figure in ("perplexity", "val_loss", "val_perplexity"):
        np.testing.assert_allclose(figures[5.0][figure], figures[0.0][figure], rtol=1e-5)


def test_a_penalty_makes_outputs_small():
    sizes = []
    for weight in (0.0, 10.0):
        model = tiny("simple_rnn", activation_l2=weight)
        model.compile(kseq.clipped_optimizer("adam", 0.02))
        ids = draw_ids(200)
        model.fit(kseq.SequentialBatches(ids, 2, 5), epochs=3, verbose=0)
        _, state = model(ids[None, :20], return_state=True)
        sizes.append(np.abs(to_numpy(state[0][0])).mean())
    assert sizes[1] < 0.7 * sizes[0]


# Steps, files and settings.


@pytest.mark.engine("torch")
@pytest.mark.parametrize("options", [{}, {"embedding_dim": 4}, {"tie_weights": True}], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_planned_steps_are_kerass(options, dtype, monkeypatch):
    def fitted():
        model = tiny("lstm", num_layers=2, dtype=dtype, **EVERYTHING, **options)
        model.compile(kseq.clipped_optimizer("adam", 0.01))
        found = model.fit(kseq.SequentialBatches(draw_ids(120), 3, 5), epochs=2, verbose=0)
        return model.get_weights(), found.history["loss"]

    weights, losses = fitted()
    monkeypatch.setattr("kseq.nn.carrying.planned_step", lambda model, training: None)
    expected, of_keras = fitted()
    close = 5e-3 if dtype == "mixed_bfloat16" else 2e-5
    np.testing.assert_allclose(losses, of_keras, rtol=close)
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5 if dtype == "float32" else 3e-2)


@pytest.mark.engine("torch")
def test_steps_are_planned_again_after_a_step_of_kerass():
    from kseq.nn.stepping import planned_step

    model = tiny("gru", **EVERYTHING)
    model.compile()
    model.fit(kseq.SequentialBatches(draw_ids(60), 2, 5), epochs=1, verbose=0)
    model(draw_ids(24).reshape(2, 12), training=True)
    assert model.losses
    assert planned_step(model, training=True) is not None
    model.stack.dense.kernel.regularizer = keras.regularizers.L2(0.1)
    assert planned_step(model, training=True) is None


def test_a_file_holds_the_settings_and_the_random_streams(tmp_path):
    model = tiny("gru", num_layers=2, embedding_dim=4, **EVERYTHING)
    model.compile()
    ids = draw_ids(24).reshape(2, 12)
    in_training(model, ids)
    model.save(tmp_path / "model.keras")
    loaded = kseq.load_model(tmp_path / "model.keras")

    config = loaded.get_config()
    assert {name: config[name] for name in NAMES} == EVERYTHING
    np.testing.assert_array_equal(in_training(loaded, ids), in_training(model, ids))


def test_a_configuration_from_before_there_was_any_still_builds():
    config = tiny("gru", dropout=0.2).get_config()
    old = {name: value for name, value in config.items() if name not in NAMES or name == "dropout"}
    assert kseq.LanguageModel.from_config(old).get_config() == config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_drop": 1.0}, r"weight_drop: must be a number at least 0 and below 1, found 1.0"),
        ({"input_dropout": -0.1}, r"input_dropout: must be .*found -0.1"),
        ({"embedding_dropout": "x"}, r"embedding_dropout: must be .*found 'x'"),
        ({"activation_l2": -1}, r"activation_l2: must be a finite number, 0 or more, found -1"),
        ({"temporal_l2": float("nan")}, r"temporal_l2: must be a finite number"),
        ({"dropout_kind": "lockd"}, r"dropout_kind: .*did you mean 'locked'"),
    ],
)
@pytest.mark.engine("torch")
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        tiny(**options)


@pytest.mark.engine("torch")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value", [-1, 1e400, True, "x", None, [0.5], {"class_name": "Lambda"}], ids=str
)
def test_hostile_values_in_a_file_are_refused(name, value):
    from kseq.data.model_files.refusing import DamageError
    from kseq.saving.settings import check_settings

    config = tiny("gru").get_config()
    check_settings("LanguageModel", {**config, **EVERYTHING})
    with pytest.raises(DamageError, match=name):
        check_settings("LanguageModel", {**config, name: value})


@pytest.mark.engine("torch")
def test_a_resumed_run_must_keep_them():
    from kseq.runs.settings import settings_of

    batches = kseq.SequentialBatches(draw_ids(60), 2, 5)
    plain, model = tiny("gru"), tiny("gru", weight_drop=0.5)
    for each in (plain, model):
        each.compile()
    assert settings_of(model, batches)["weight_drop"] == 0.5
    assert not {*settings_of(plain, batches)} & ({*NAMES} - {"dropout"})
