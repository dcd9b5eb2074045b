"""Clipping: the trainings against the oracle, and what becomes of one that explodes."""

import math

import numpy as np
import oracle
import pytest

from kseq.errors import UsageError
from kseq.nn.clipping import BATCH, clipping
from kseq.nn.jacobians import drawn_layer, drawn_weight


def descended_by_oracle(updates, units, rate, bound, seed):
    """Give loss and norm of the first updates in float64."""
    layer = drawn_layer("simple_rnn", units, 1.5, seed=seed)
    weights = [
        *(w.astype("float64") for w in layer.get_weights()),
        drawn_weight("kernel", (units, 1), seed, 3),
        np.zeros(1),
    ]
    x = np.random.default_rng([seed, 4]).normal(size=(BATCH, 10, 1)).astype("float32")
    first = oracle.zero_states("simple_rnn", BATCH, units)
    rows = []
    for _ in range(updates):
        outputs, (h,) = oracle.forward("simple_rnn", x, first, weights[:3])
        error = h @ weights[3] + weights[4] - x[:, 0]
        d = 2 * error / BATCH
        back = (x, first, weights[:3], np.zeros_like(outputs), [d @ weights[3].T])
        gradients = [*oracle.backward("simple_rnn", *back)[2], h.T @ d, d.sum(0)]
        rows.append((np.mean(error**2), math.sqrt(sum((g**2).sum() for g in gradients))))
        clipped = oracle.clip_by_global_norm(gradients, bound)
        weights = [w - rate * g for w, g in zip(weights, clipped, strict=True)]
    return np.array(rows).T


def test_the_trainings_are_the_oracles():
    found = clipping(num_updates=4, units=6, learning_rate=0.1, bound=0.7, seed=2)

    for run, bound in ((found.clipped, 0.7), (found.free, 1e30)):
        loss, norm = descended_by_oracle(4, 6, 0.1, bound, seed=2)
        np.testing.assert_allclose(run.loss, loss, rtol=1e-4)
        np.testing.assert_allclose(run.before, norm, rtol=1e-3)
        np.testing.assert_allclose(run.after, np.minimum(norm, bound), rtol=1e-3)


@pytest.fixture(scope="module")
def result():
    return clipping()


def test_clipping_keeps_a_training_finite_that_diverges_without(result):
    clipped, free = result.clipped, result.free

    assert (clipped.loss[0], clipped.before[0]) == (free.loss[0], free.before[0])
    assert clipped.loss.max() < 2 * clipped.loss[0]
    assert clipped.loss[-10:].max() < clipped.loss[0] / 4
    assert clipped.before.max() > 5
    np.testing.assert_allclose(clipped.after, np.minimum(clipped.before, 1), rtol=1e-3)
    assert clipped.skipped == 0
    assert not (free.loss < 1e6).all()


def test_updates_without_a_finite_gradient_are_skipped_and_counted(result):
    free = result.free
    refused = ~np.isfinite(free.before)

    assert free.skipped == refused.sum() > 0
    assert (free.after[refused] == 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: clipping(bound=0), "bound: must be a finite number above 0, found 0"),
        (lambda: clipping(learning_rate=-1), "learning_rate: must be .*, found -1"),
        (lambda: clipping(num_updates=0), "num_updates: must be .*, at least 1, found 0"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()
