"""What the tests of the recurrent layers share: the cases, their weights, their twins in Keras."""

import keras
import numpy as np

import kseq

B, T, D, H = 3, 5, 4, 6
CASES = ("simple_rnn", "gru", "gru_before", "lstm")
KSEQ = {"simple_rnn": kseq.SimpleRNN, "gru": kseq.GRU, "lstm": kseq.LSTM}
# Drawing initial weights costs a compilation on JAX.
QUICK = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros"}
KERAS = {"simple_rnn": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}


def kind_of(case):
    return case.removesuffix("_before")


def draw(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(0, 0.6, shape).astype("float32")


def initial_state(case, batch_size=B):
    return [draw(batch_size, H, seed=7 + i) for i in range(2 if case == "lstm" else 1)]


def make(classes, case, features=D, **options):
    """Give a built layer of H units whose weights, the biases too, depend on the case alone."""
    if case == "gru_before":
        options = {"reset_after": False, **options}
    layer = classes[kind_of(case)](H, **QUICK, **options)
    layer.build((B, T, features))
    layer.set_weights([draw(*w.shape, seed=i) for i, w in enumerate(layer.get_weights())])
    return layer


def twins(case, features=D, **options):
    """Give kseq's layer and Keras's with the same options and weights."""
    return make(KSEQ, case, features, **options), make(KERAS, case, features, **options)


def as_list(outputs):
    """Give a layer's one or several outputs as NumPy arrays."""
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    return [to_numpy(output) for output in outputs]


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def assert_close(found, expected, tolerance=2e-6):
    """Assert that two lists of arrays agree, shapes included."""
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
