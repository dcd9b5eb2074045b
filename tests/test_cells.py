"""The cells written as the book writes them: against the oracle, the fused layers, and shapes."""

import keras
import numpy as np
import oracle
import pytest
from recurrent_cases import KSEQ, QUICK, B, D, H, T, as_list, assert_close, draw, make, to_numpy

import kseq
from kseq.errors import UsageError

CELLS = {
    "simple_rnn": kseq.SimpleRNNCell,
    "gru": kseq.GRUCell,
    "lstm": kseq.LSTMCell,
    "peephole_lstm": kseq.PeepholeLSTMCell,
}
# Which layer keeps the same weights side by side.
FUSED = {"simple_rnn": "simple_rnn", "gru": "gru_before", "lstm": "lstm", "peephole_lstm": "lstm"}
KINDS = tuple(CELLS)


def fused_weights(kind, features=D):
    return make(KSEQ, FUSED[kind], features).get_weights()


def make_cell(kind, features=D, peepholes=0.0):
    """Give a built cell with the weights of the fused layer and peepholes of that size."""
    cell = CELLS[kind](H, **QUICK)
    cell.build((B, features))
    cell.assign_fused(*fused_weights(kind, features))
    if kind == "peephole_lstm":
        for i, p in enumerate((cell.p_i, cell.p_f, cell.p_o)):
            p.assign(peepholes * draw(H, seed=i))
    return cell


def states_of(cell):
    return [draw(B, width, seed=i) for i, width in enumerate(cell.state_size)]


def oracle_weights(cell, kind):
    """Put the weights of the gates side by side, as the oracle holds them."""
    sides = [
        np.concatenate([to_numpy(getattr(cell, name.format(g))) for g in cell.gates], -1)
        for name in ("W_x{}", "W_h{}", "b_{}")
    ]
    if kind == "peephole_lstm":
        sides.append(np.stack([to_numpy(p) for p in (cell.p_i, cell.p_f, cell.p_o)]))
    return sides


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_equals_the_oracle(kind):
    cell = make_cell(kind, peepholes=1.0)
    output, states = cell(draw(B, D), states_of(cell))
    step = getattr(oracle, f"{kind}_step")
    expected = step(draw(B, D), states_of(cell), oracle_weights(cell, kind))
    assert_close(as_list([output, *states]), [expected[0], *expected])


@pytest.mark.parametrize("kind", KINDS)
def test_over_time_the_cell_equals_the_fused_layer(kind):
    options = {"return_sequences": True, "return_state": True}
    cell, layer = make_cell(kind), make(KSEQ, FUSED[kind], **options)
    found = keras.layers.RNN(cell, **options)(draw(B, T, D), initial_state=states_of(cell))
    expected = layer(draw(B, T, D), initial_state=states_of(cell))
    assert_close(as_list(found), as_list(expected))


def test_peepholes_start_at_zero_and_then_matter():
    plain, fresh = make_cell("lstm"), kseq.PeepholeLSTMCell(H)
    fresh.build((B, D))
    fresh.assign_fused(*fused_weights("lstm"))
    x, states = draw(B, D), states_of(plain)
    assert_close(as_list(fresh(x, states)[1]), as_list(plain(x, states)[1]))
    for weight in (fresh.p_i, fresh.p_f, fresh.p_o):
        before = to_numpy(fresh(x, states)[0])
        weight.assign(np.ones(H))
        assert np.abs(to_numpy(fresh(x, states)[0]) - before).max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_two_cells_are_a_real_two_layer_recurrence(kind):
    first, second = make_cell(kind), make_cell(kind, features=H)
    rnn = keras.layers.RNN([first, second], return_sequences=True)

    def by_hand():
        lower, upper = (cell.get_initial_state(B) for cell in (first, second))
        outputs = []
        for x in np.swapaxes(draw(B, T, D), 0, 1):
            below, lower = first(x, lower)
            above, upper = second(below, upper)
            outputs.append(to_numpy(above))
        return np.stack(outputs, 1)

    before = to_numpy(rnn(draw(B, T, D)))
    assert_close([before], [by_hand()])
    recurrent = getattr(second, f"W_h{second.gates[-1]}")
    recurrent.assign(np.zeros((H, H)))
    after = to_numpy(rnn(draw(B, T, D)))
    # The first step starts from a state of zero, which no recurrent weight can see.
    assert_close([after[:, 0]], [before[:, 0]])
    assert np.abs(after[:, 1:] - before[:, 1:]).max() > 1e-2


def test_cells_100_50_30_stepped_by_hand():
    first, second = kseq.SimpleRNNCell(50, **QUICK), kseq.SimpleRNNCell(30, **QUICK)
    lower, upper = first.get_initial_state(3), second.get_initial_state(3)
    for x in draw(3, 3, 100):  # three steps of a batch of three, time first
        below, lower = first(x, lower)
        _, upper = second(below, upper)
    assert [tuple(lower[0].shape), tuple(upper[0].shape)] == [(3, 50), (3, 30)]
    assert [tuple(w.shape) for w in first.weights] == [(100, 50), (50, 50), (50,)]


def test_shapes_of_a_four_layer_lstm():
    """PyTorch, time first: outputs (80, 30, 20) and states (4, 30, 20) twice."""
    options = {"return_sequences": True, "return_state": True, **QUICK}
    stack = [kseq.LSTM(20, **options) for _ in range(4)]
    outputs, states = np.zeros((30, 80, 100), "float32"), []
    for layer in stack:
        outputs, *last = layer(outputs)
        states.append([tuple(s.shape) for s in last])
    assert tuple(outputs.shape) == (30, 80, 20)
    assert states == [[(30, 20), (30, 20)]] * 4
    assert [tuple(w.shape) for w in stack[0].weights] == [(100, 80), (20, 80), (80,)]


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_named_by_gate(kind):
    cell = make_cell(kind)
    names = [w.name for w in cell.weights]
    expected = [name for g in cell.gates for name in (f"W_x{g}", f"W_h{g}", f"b_{g}")]
    assert names == expected + (["p_i", "p_f", "p_o"] if kind == "peephole_lstm" else [])
    assert all(w.trainable for w in cell.weights)


@pytest.mark.parametrize("kind", KINDS)
def test_configuration_makes_the_round_trip(kind):
    cell = CELLS[kind](H, "he_normal", "zeros", "ones", name="cell", dtype="mixed_bfloat16")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(cell))
    assert type(copy) is CELLS[kind]
    assert copy.get_config() == cell.get_config()
    assert copy.kernel_initializer.__class__ is keras.initializers.HeNormal
    copy.build((B, D))
    assert to_numpy(copy.b_h if "h" in copy.gates else copy.b_i).tolist() == [1.0] * H


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_reads_back(tmp_path, kind):
    layer = keras.layers.RNN([make_cell(kind, peepholes=1.0), make_cell(kind, H)])
    model = keras.Sequential([keras.Input((T, D)), layer])
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert [type(cell) for cell in copy.layers[0].cell.cells] == [CELLS[kind]] * 2
    assert_close(as_list(copy(draw(B, T, D))), as_list(model(draw(B, T, D))))


def test_states_have_the_compute_dtype():
    cell = kseq.LSTMCell(H, dtype="mixed_bfloat16")
    output, states = cell(draw(B, D), cell.get_initial_state(B))
    dtypes = {keras.backend.standardize_dtype(s.dtype) for s in [output, *states]}
    assert dtypes == {"bfloat16"}


def test_a_gru_with_the_reset_gate_after_the_product_does_not_fit():
    cell = kseq.GRUCell(H)
    cell.build((B, D))
    with pytest.raises(ValueError, match="shape"):
        cell.assign_fused(*make(KSEQ, "gru").get_weights())


@pytest.mark.parametrize("units", [0, -1, 2.5, True, "8"])
def test_units_that_are_no_size_are_refused(units):
    with pytest.raises(UsageError, match="units: must be a whole number, at least 1, found"):
        kseq.LSTMCell(units)
