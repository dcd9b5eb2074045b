"""Training and judging by hand, batch by batch, with the NumPy oracle and without Keras."""

import numpy as np
import oracle


def epochs_of(batches, epochs):
    """Give the batches of each epoch, whatever epoch `batches` is at."""
    fresh = type(batches)(batches.ids, batches.batch_size, batches.num_steps, seed=batches.seed)
    walked = []
    for epoch in epochs:
        fresh.set_epoch(epoch)
        walked.append(list(fresh))
    return walked


def trained_by_hand(weights, epochs, rate, clip, carry=True):
    """Give the losses of NumPy's training over the batches of `epochs`, without Keras."""
    weights, losses = [w.astype("float64") for w in weights], []
    for batches in epochs:
        state = None
        for ids, targets in batches:
            state = state if carry else None
            loss, gradients, state = oracle.language_model_step(weights, ids, targets, state)
            gradients = oracle.clip_by_global_norm(gradients, clip)
            weights = [w - rate * g for w, g in zip(weights, gradients, strict=True)]
            losses.append(loss)
    return np.array(losses)


def judged_by_hand(weights, batches, carry=True):
    """Give NumPy's mean loss over `batches`."""
    state, losses = None, []
    for ids, targets in batches:
        loss, _, state = oracle.language_model_step(weights, ids, targets, state)
        state = state if carry else None
        losses.append(loss)
    return np.mean(losses)


def assert_close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
