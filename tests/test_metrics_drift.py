"""The totals of the metrics over a hundred million tokens, eagerly and in compiled steps.

A compiler that reorders float32 sums would take the compensation away; these tests would see it.
"""

import math

import keras
import numpy as np
import pytest
from recurrent_cases import to_numpy

import kseq

ENGINE = keras.backend.backend()
TARGETS, LOGITS = np.array([[0]], "int32"), np.array([[[0.3, 1.1]]], "float32")
# Each update is one token that counts for about 100,000: in all 10^8 tokens.
WEIGHTS = np.tile(np.array([100_003.5, 100_002.5], "float32"), 500)


def totals(metric):
    """Give the totals of nats and of tokens, each the sum of two float32 numbers."""
    parts = {v.name: float(to_numpy(v)) for v in metric.variables}
    return [parts[name] + parts[f"{name}_low"] for name in ("nats", "tokens")]


def terms_of(weights):
    """Give what each update adds to the totals of nats and of tokens, in float32."""
    metric = kseq.Perplexity()
    metric.update_state(TARGETS, LOGITS)
    nats = np.float32(totals(metric)[0])
    assert nats == pytest.approx(math.log(1 + math.exp(0.8)), rel=1e-6)
    return nats * weights, weights


def exact_totals(weights):
    return [math.fsum(terms.tolist()) for terms in terms_of(weights)]


def test_plain_float32_totals_would_drift():
    for terms, exact in zip(terms_of(WEIGHTS), exact_totals(WEIGHTS), strict=True):
        plain = np.float32(0)
        for term in terms:
            plain += term
        assert abs(plain / exact - 1) > 1e-6


def eagerly(metric):
    for weight in WEIGHTS:
        metric.update_state(TARGETS, LOGITS, weight.reshape(1, 1))


def in_jax_jit(metric):
    import jax

    def step(values, weight):
        return metric.stateless_update_state(values, TARGETS, LOGITS, weight.reshape(1, 1)), None

    @jax.jit
    def run(values, weights):
        return jax.lax.scan(step, values, weights)[0]

    values = run([v.value for v in metric.variables], WEIGHTS)
    for variable, value in zip(metric.variables, values, strict=True):
        variable.assign(value)


def in_tf_function(metric, jit_compile=False):
    import tensorflow as tf

    @tf.function(jit_compile=jit_compile)
    def run(weights):
        for i in tf.range(len(WEIGHTS)):
            metric.update_state(TARGETS, LOGITS, tf.reshape(weights[i], (1, 1)))

    run(tf.constant(WEIGHTS))


def in_tf_xla(metric):
    in_tf_function(metric, jit_compile=True)


def in_batches(metric):
    """Ten tokens in each update."""
    for rows in np.split(WEIGHTS, 100):
        metric.update_state(np.repeat(TARGETS, 10, 0), np.repeat(LOGITS, 10, 0), rows[:, None])


RUNS = {
    "torch": (eagerly, in_batches),
    "jax": (eagerly, in_jax_jit, in_batches),
    "tensorflow": (eagerly, in_tf_function, in_tf_xla, in_batches),
}


@pytest.mark.parametrize("run", RUNS[ENGINE])
def test_a_hundred_million_tokens_do_not_drift(run):
    metric = kseq.Perplexity()
    run(metric)
    assert totals(metric) == pytest.approx(exact_totals(WEIGHTS), rel=1e-7)


def test_evaluate_does_not_drift():
    """In the step that Keras compiles for this engine."""
    model = keras.Sequential([keras.Input((1, 2)), keras.layers.Identity()])
    model.compile(loss="mse", weighted_metrics=[kseq.Perplexity()])
    rows = 300
    weights = np.full((rows, 1), 333_335.7, "float32")
    x, y = np.repeat(LOGITS, rows, 0), np.repeat(TARGETS, rows, 0)
    model.evaluate(x, y, batch_size=1, sample_weight=weights, verbose=0)
    (metric,) = model._compile_metrics.metrics
    assert totals(metric) == pytest.approx(exact_totals(weights.ravel()), rel=1e-7)


def varied(count, mean, seed):
    """Give `count` float32 nats as a language model's: many small ones, some large, mean `mean`."""
    return np.random.default_rng(seed).gamma(0.7, mean / 0.7, count).astype("float32")


def assert_exact(metric, exact_nats, tokens):
    """Check the totals, and the perplexity, against sums in float64."""
    assert totals(metric)[1] == tokens
    assert totals(metric)[0] == pytest.approx(exact_nats, rel=1e-7)
    assert float(metric.result()) == pytest.approx(math.exp(exact_nats / tokens), rel=1e-6)


def added(tokens, mean, batch=32 * 35):
    """Give the metric that counted so many varied nats by `add_nats`, and their sum in float64."""
    import torch

    metric, exact, pool = kseq.Perplexity(), 0.0, varied(1000 * batch, mean, seed=1)
    # Sums of the pool's batches in float64; each pass reads it from another token on.
    for start in range(tokens // batch):
        at = (start * batch + start // 1000) % (len(pool) - batch)
        nats = pool[at : at + batch]
        exact += float(nats.sum(dtype="float64"))
        metric.add_nats(torch.from_numpy(nats))
    return metric, exact


@pytest.mark.engine("torch")
@pytest.mark.parametrize("mean", [0.05, 1.4, 5.0])
@pytest.mark.parametrize(
    "tokens", [10**6, pytest.param(10**8, marks=pytest.mark.slow)], ids=["1e6", "1e8"]
)
def test_varied_nats_of_planned_steps_add_up_exactly(tokens, mean):
    tokens -= tokens % (32 * 35)
    metric, exact = added(tokens, mean)
    assert_exact(metric, exact, tokens)


@pytest.mark.parametrize(
    "updates", [27, pytest.param(2700, marks=pytest.mark.slow)], ids=["1e6", "1e8"]
)
def test_varied_logits_add_up_exactly(updates):
    """Two tokens whose logits differ by d: log(1 + exp(-d)) nats, here from 0.007 to 5."""
    metric, exact, tokens = kseq.Perplexity(), 0.0, 0
    shape, rng = (50, 1000), np.random.default_rng(2)
    margins = rng.uniform(-5, 5, shape).astype("float32")
    logits = np.stack([margins, np.zeros_like(margins)], -1)
    ids = np.zeros(shape, "int32")
    for update in range(updates):
        kept = int(rng.choice([500, 750, 1000]))
        chosen = np.s_[:, :kept] if update % 2 else np.s_[:, -kept:]
        wide = margins[chosen].astype("float64")
        exact += float(np.logaddexp(0.0, -wide).sum())
        tokens += wide.size
        metric.update_state(ids[chosen], logits[chosen])
    assert_exact(metric, exact, tokens)


def test_plain_float32_sums_of_varied_nats_would_drift():
    batches = varied(10**6, 1.4, seed=1).reshape(-1, 100)
    running = np.float32(0)
    for nats in batches:
        running += nats.sum()
    exact = float(batches.sum(dtype="float64"))
    assert abs(running / exact - 1) > 1e-6
