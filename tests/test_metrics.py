"""Perplexity and bits per token: worked by hand, by the oracle, by torchmetrics, over long runs."""

# PyTorch, and torchmetrics with it, is loaded before TensorFlow: the other order crashes.
import torch  # isort: skip
import math

import keras
import numpy as np
import oracle
import pytest
import torchmetrics.text
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrent_cases import to_numpy

import kseq

B, T, V = 3, 4, 7
METRICS = {"perplexity": kseq.Perplexity, "bits_per_token": kseq.BitsPerToken}


def batch(seed=0, size=B):
    rng = np.random.default_rng(seed)
    return rng.integers(0, V, (size, T)), rng.normal(0, 2, (size, T, V)).astype("float32")


def result(metric, *updates):
    for update in updates:
        metric.update_state(*update)
    return float(to_numpy(metric.result()))


def totals(metric):
    """Give the totals of nats and of tokens as exact Python floats."""
    parts = {v.name: float(to_numpy(v)) for v in metric.variables}
    return [math.fsum([parts[name], parts[f"{name}_low"]]) for name in ("nats", "tokens")]


@pytest.mark.parametrize("size", [2, 28, 4580])
def test_uniform_logits_give_the_size_of_the_vocabulary(size):
    update = np.zeros((1, 2), "int32"), np.full((1, 2, size), 3.0, "float32")
    assert result(kseq.Perplexity(), update) == pytest.approx(size, rel=1e-6)
    assert result(kseq.BitsPerToken(), update) == pytest.approx(math.log2(size), rel=1e-6)


def test_worked_by_hand():
    """Probabilities 1/2, 1/4 and 1/8 of the targets: 1, 2 and 3 bits, 2 on average."""
    probabilities = np.array([[[0.5, 0.5], [0.75, 0.25], [0.125, 0.875]]], "float32")
    targets = np.array([[0, 1, 0]])
    for given_as, from_logits in ((np.log(probabilities), True), (probabilities, False)):
        bits = kseq.BitsPerToken(from_logits=from_logits)
        assert result(bits, (targets, given_as)) == pytest.approx(2, rel=1e-6)
        metric = kseq.Perplexity(from_logits=from_logits)
        assert result(metric, (targets, given_as)) == pytest.approx(4, rel=1e-6)


def test_weights_worked_by_hand():
    logits = np.log(np.array([[[0.5, 0.5], [0.75, 0.25]], [[0.125, 0.875]] * 2], "float32"))
    targets = np.array([[0, 1], [0, 0]])
    by_token = targets, logits, np.array([[1, 1], [0, 2]])
    assert result(kseq.BitsPerToken(), by_token) == pytest.approx((1 + 2 + 2 * 3) / 4, rel=1e-6)
    by_row = targets, logits, np.array([2.0, 0.5])
    expected = (2 * (1 + 2) + 0.5 * (3 + 3)) / (2 * 2 + 0.5 * 2)
    assert result(kseq.BitsPerToken(), by_row) == pytest.approx(expected, rel=1e-6)
    by_column = targets, logits, np.array([[2.0], [0.5]])
    assert result(kseq.BitsPerToken(), by_column) == pytest.approx(expected, rel=1e-6)


def test_it_is_no_mean_of_exponentials_nor_of_batch_means():
    short, long = batch(1, 1), batch(2, 5)
    nats = np.concatenate([oracle.token_nats(x, y).ravel() for y, x in (short, long)])
    assert result(kseq.Perplexity(), short, long) == pytest.approx(math.exp(nats.mean()), rel=1e-6)
    both = [result(kseq.Perplexity(), update) for update in (short, long)]
    assert abs(np.mean(both) / math.exp(nats.mean()) - 1) > 0.01


@settings(max_examples=15)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 1000), st.booleans())
def test_equals_the_oracle_in_float64(sizes, seed, weigh):
    updates = [batch([seed, i], size) for i, size in enumerate(sizes)]
    weights = [np.ones((size, T)) for size in sizes]
    if weigh:
        weights[1:] = [np.random.default_rng(seed).integers(0, 3, w.shape) for w in weights[1:]]
    joined = [np.concatenate(part) for part in zip(*updates, strict=True)]
    nats = oracle.mean_nats(joined[1], joined[0], np.concatenate(weights))
    updates = [(*update, w) for update, w in zip(updates, weights, strict=True)]
    assert result(kseq.Perplexity(), *updates) == pytest.approx(math.exp(nats), rel=1e-6)
    assert result(kseq.BitsPerToken(), *updates) == pytest.approx(nats / math.log(2), rel=1e-6)


def test_equals_torchmetrics():
    theirs, updates = torchmetrics.text.Perplexity(), [batch(seed) for seed in range(3)]
    for targets, logits in updates:
        theirs.update(torch.from_numpy(logits), torch.from_numpy(targets))
    assert result(kseq.Perplexity(), *updates) == pytest.approx(float(theirs.compute()), rel=1e-6)


def test_equals_torchmetrics_with_tokens_left_out():
    theirs, (targets, logits) = torchmetrics.text.Perplexity(ignore_index=-1), batch()
    kept = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 1]])
    theirs.update(torch.from_numpy(logits), torch.from_numpy(np.where(kept, targets, -1)))
    found = result(kseq.Perplexity(), (targets, logits, kept))
    assert found == pytest.approx(float(theirs.compute()), rel=1e-6)


@pytest.mark.parametrize("kind", METRICS.values(), ids=METRICS)
def test_a_token_of_weight_zero_may_be_impossible(kind):
    targets, logits = batch()
    weights, ruined = np.ones((B, T)), logits.copy()
    weights[1, 2] = 0
    for bad in (-np.inf, np.nan):
        ruined[1, 2, targets[1, 2]] = bad
        found = result(kind(), (targets, ruined, weights))
        assert found == pytest.approx(result(kind(), (targets, logits, weights)), rel=1e-6)


def test_impossible_other_tokens_leave_the_choice_among_the_rest():
    logits = np.zeros((1, 1, V), "float32")
    logits[..., 2:] = -np.inf
    assert result(kseq.Perplexity(), (np.array([[0]]), logits)) == pytest.approx(2, rel=1e-6)


def test_an_impossible_token_that_counts_has_infinite_perplexity():
    logits = np.zeros((1, 1, V), "float32")
    logits[..., 0] = -np.inf
    impossible, metric = (np.array([[0]]), logits), kseq.Perplexity()
    assert result(metric, impossible) == math.inf
    assert result(metric, batch()) == math.inf
    assert result(kseq.BitsPerToken(), impossible, batch()) > 1e20


@pytest.mark.parametrize("kind", METRICS.values(), ids=METRICS)
def test_a_nan_that_counts_shows(kind):
    targets, logits = batch()
    logits[0, 0, 0] = np.nan
    assert math.isnan(result(kind(), (targets, logits), batch()))


@pytest.mark.parametrize("kind", METRICS.values(), ids=METRICS)
def test_no_tokens_give_nan(kind):
    assert math.isnan(result(kind()))
    assert math.isnan(result(kind(), (*batch(), np.zeros((B, T)))))
    metric = kind()
    metric.update_state(*batch())
    metric.reset_state()
    assert math.isnan(result(metric))


def test_a_mask_hides_tokens():
    targets, logits = batch()
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], bool)
    masked = keras.ops.convert_to_tensor(logits)
    keras.src.backend.set_keras_mask(masked, keras.ops.convert_to_tensor(mask))
    found = result(kseq.Perplexity(), (targets, masked))
    nats = oracle.mean_nats(logits, targets, mask)
    assert found == pytest.approx(math.exp(nats), rel=1e-6)


def test_half_precision_logits_are_summed_in_full():
    targets, logits = batch(size=40)
    half = keras.ops.cast(logits, "bfloat16")
    found = result(kseq.Perplexity(), (targets, half))
    nats = oracle.mean_nats(to_numpy(half), targets)
    assert found == pytest.approx(math.exp(nats), rel=1e-6)


@pytest.mark.parametrize("kind", METRICS.values(), ids=METRICS)
def test_configuration_makes_the_round_trip(kind):
    metric = kind(from_logits=False, name="mine")
    copy = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(copy) is kind
    assert copy.get_config() == metric.get_config()
    assert (copy.name, copy.from_logits) == ("mine", False)
    assert [METRICS[kind().name], kind().from_logits] == [kind, True]


def compiled_model():
    model = keras.Sequential([keras.Input((T, V)), keras.layers.Dense(V)])
    model.layers[0].set_weights([np.eye(V), np.zeros(V)])
    model.compile(
        optimizer=keras.optimizers.SGD(0.5),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[kseq.Perplexity(name="plain")],
        weighted_metrics=[kseq.Perplexity(), kseq.BitsPerToken()],
    )
    return model


def test_in_fit_it_is_exp_of_the_reported_loss():
    targets, logits = batch(size=8)
    history = compiled_model().fit(logits, targets, batch_size=2, epochs=2, verbose=0).history
    for epoch, loss in enumerate(history["loss"]):
        assert history["plain"][epoch] == pytest.approx(math.exp(loss), rel=1e-6)
        assert history["perplexity"][epoch] == pytest.approx(math.exp(loss), rel=1e-6)
        assert history["bits_per_token"][epoch] == pytest.approx(loss / math.log(2), rel=1e-6)
    assert history["loss"][1] < history["loss"][0]


def test_in_evaluate_only_weighted_metrics_see_the_weights():
    targets, logits = batch(size=8)
    weights = np.random.default_rng(0).integers(0, 3, (8, T)).astype("float32")
    found = compiled_model().evaluate(
        logits, targets, 2, sample_weight=weights, verbose=0, return_dict=True
    )
    plain, weighted = (oracle.mean_nats(logits, targets, w) for w in (None, weights))
    assert found["plain"] == pytest.approx(math.exp(plain), rel=1e-6)
    assert found["perplexity"] == pytest.approx(math.exp(weighted), rel=1e-6)
