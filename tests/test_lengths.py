"""Batches of drawn lengths: every token once and in order, the same by seed and epoch."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from language_cases import Interrupt, draw_ids, tiny, to_numpy

import kseq
from kseq.data.lengths import drawn
from kseq.errors import UsageError
from kseq.nn.batches import RestOfEpoch

SPREAD = {"num_steps_spread": 2}


@pytest.mark.engine("torch")
@given(st.integers(1, 4), st.integers(2, 30), st.integers(1, 900), st.integers(0, 5), st.data())
def test_rows_are_covered_once_and_in_order(B, T, more, epoch, data):
    spread = data.draw(st.integers(1, T // 2))
    N = B * T + more
    starts, lengths = drawn(N, B, T, spread, 7, epoch)

    assert starts.shape == (len(lengths), B)
    np.testing.assert_array_equal(np.diff(starts, axis=0), np.tile(lengths[:-1, None], B))
    assert lengths.min() >= spread
    assert lengths.max() <= T + 4 * spread
    assert not (lengths % spread).any()
    # Each row ends before the next begins, the last of them before the last target.
    ends = starts[-1] + lengths[-1]
    assert (ends[:-1] <= starts[0, 1:]).all()
    assert 0 <= starts[0, 0] < T
    assert ends[-1] <= N - 1
    row = (N - 1) // B
    assert row - spread < lengths.sum() <= row
    assert len(drawn(N, B, T, spread, 7, epoch + 1)[1]) == len(lengths)


@pytest.mark.engine("torch")
def test_lengths_are_near_the_papers():
    lengths = np.concatenate([drawn(300_001, 10, 70, 5, 0, epoch)[1] for epoch in range(5)])
    short = lengths < 53
    np.testing.assert_allclose(short.mean(), 0.05, atol=0.015)
    np.testing.assert_allclose(lengths[~short].mean(), 70, atol=1)
    np.testing.assert_allclose(lengths[short].mean(), 35, atol=3)
    np.testing.assert_allclose(lengths[~short].std(), 5, atol=1)
    assert len(set(lengths)) <= 16


@pytest.mark.engine("torch")
def test_batches_are_the_text_and_a_function_of_seed_and_epoch():
    ids = np.arange(500)
    batches = kseq.SequentialBatches(ids, 3, 10, seed=4, **SPREAD)
    first = list(batches)
    assert len(first) == len(batches)
    assert batches.tokens_per_epoch == sum(x.size for x, _ in first)
    rows = [np.concatenate(row) for row in zip(*(x for x, _ in first), strict=True)]
    for row in rows:
        np.testing.assert_array_equal(np.diff(row), 1)
    assert all((y == x + 1).all() for x, y in first)
    second = [x.shape for x, _ in batches]
    assert second != [x.shape for x, _ in first]
    batches.set_epoch(0)
    for (x, _), (again, _) in zip(first, batches, strict=True):
        np.testing.assert_array_equal(x, again)
    batches.set_epoch(0)
    rest = RestOfEpoch(batches, 5)
    np.testing.assert_array_equal(rest[0][0], first[5][0])


@pytest.mark.engine("torch")
def test_evaluation_reads_fixed_lengths():
    batches = kseq.SequentialBatches(np.arange(500), 3, 10, **SPREAD).from_first_token()
    assert {x.shape for x, _ in batches} == {(3, 10)}
    assert batches.base_steps is None


@pytest.mark.engine("torch")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps_spread": -1}, "num_steps_spread: must be a whole number, at least 0"),
        ({"num_steps_spread": 6}, r"num_steps_spread: must be at most half of num_steps \(10\)"),
        ({"num_steps_spread": 2, "seed": None}, "num_steps_spread: lengths must be drawn by a se"),
    ],
)
def test_spreads_that_cannot_be_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        kseq.SequentialBatches(np.arange(500), 3, 10, **options)


# The learning rate follows the lengths.


@pytest.mark.engine("torch")
@pytest.mark.parametrize("planned", [True, False])
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_rate_of_a_step_is_in_proportion_to_its_length(name, planned, monkeypatch):
    if not planned:
        monkeypatch.setattr("kseq.nn.carrying.planned_step", lambda model, training: None)
    batches = kseq.SequentialBatches(draw_ids(200), 2, 8, seed=1, **SPREAD)
    lengths = [x.shape[1] for x, _ in batches]
    assert len(set(lengths)) > 1
    batches.set_epoch(0)
    model = tiny("gru")
    model.compile(kseq.clipped_optimizer(name, 0.1))
    model.fit(batches, epochs=1, verbose=0)

    # Batches that say nothing of their lengths, and a rate set for each.
    class Silent(kseq.SequentialBatches):
        base_steps = property(lambda self: None, lambda self, value: None)

    class Rates(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.optimizer.learning_rate = 0.1 * lengths[batch] / 8

    other = tiny("gru")
    other.compile(kseq.clipped_optimizer(name, 0.1))
    silent = Silent(draw_ids(200), 2, 8, seed=1, **SPREAD)
    other.fit(silent, epochs=1, verbose=0, callbacks=[Rates()])
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=2e-6)
    assert model.optimizer.rate_scale == 1.0
    np.testing.assert_allclose(to_numpy(model.optimizer.learning_rate), 0.1, rtol=1e-6)


def test_a_fit_on_any_engine_learns_and_ends_at_its_own_rate():
    batches = kseq.SequentialBatches(draw_ids(120), 2, 8, **SPREAD)
    model = tiny("simple_rnn")
    model.compile(kseq.clipped_optimizer("sgd", kseq.schedule("one_cycle", 1.0, 2 * len(batches))))
    history = model.fit(batches, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert int(to_numpy(model.optimizer.iterations)) == 2 * len(batches)
    assert model.optimizer.rate_scale == 1.0


@pytest.mark.engine("torch")
def test_an_interrupted_fit_leaves_the_rate_as_it_was():
    batches = kseq.SequentialBatches(draw_ids(200), 2, 8, **SPREAD)
    model = tiny()
    model.compile()
    with pytest.raises(KeyboardInterrupt):
        model.fit(batches, verbose=0, callbacks=[Interrupt(step=3)])
    assert model.optimizer.rate_scale == 1.0


@pytest.mark.engine("torch")
def test_an_optimizer_whose_rate_cannot_follow_is_refused():
    model = tiny()
    model.compile(keras.optimizers.SGD(0.1))
    with pytest.raises(UsageError, match=r"found .*SGD, whose rate cannot; compile with kseq"):
        model.fit(kseq.SequentialBatches(draw_ids(200), 2, 8, **SPREAD), verbose=0)
