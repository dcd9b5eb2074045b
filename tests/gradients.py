"""Gradients by the engine in use, for tests that run under every engine."""

import keras


def gradients(function, arrays, variables=()):
    """Give the gradients of a scalar function by its arguments and by Keras variables.

    function: takes one tensor for each of `arrays`, gives a scalar tensor.
    Returns two lists of NumPy arrays, for `arrays` and for `variables`.
    """
    engine = keras.backend.backend()
    tensors = [keras.ops.convert_to_tensor(array) for array in arrays]
    found = _ENGINES[engine](function, tensors, list(variables))
    found = [keras.ops.convert_to_numpy(gradient) for gradient in found]
    return found[: len(tensors)], found[len(tensors) :]


def _torch(function, tensors, variables):
    import torch

    tensors = [tensor.clone().requires_grad_() for tensor in tensors]
    return torch.autograd.grad(function(*tensors), [*tensors, *(v.value for v in variables)])


def _jax(function, tensors, variables):
    import jax

    def scalar(tensors, values):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*tensors)

    by_tensors, by_variables = jax.grad(scalar, (0, 1))(tensors, [v.value for v in variables])
    return [*by_tensors, *by_variables]


def _tensorflow(function, tensors, variables):
    import tensorflow as tf

    sources = [*tensors, *(v.value for v in variables)]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        scalar = function(*tensors)
    return tape.gradient(scalar, sources)


_ENGINES = {"torch": _torch, "jax": _jax, "tensorflow": _tensorflow}


def weighted_sum(tensors, weights):
    """Give the sum of all entries times their weights: a scalar that sees every entry."""
    pairs = zip(tensors, weights, strict=True)
    return sum(
        keras.ops.sum(tensor * keras.ops.convert_to_tensor(weight, tensor.dtype))
        for tensor, weight in pairs
    )
