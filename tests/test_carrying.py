"""`fit` carries the state: step by step the losses of truncated backpropagation written by hand."""

import zipfile

import h5py
import keras
import numpy as np
import oracle
import pytest
import torch
from language_cases import (
    UNITS,
    Interrupt,
    V,
    draw_ids,
    fit_losses,
    logits_of,
    same,
    tiny,
    to_numpy,
    with_sgd,
)
from torch_twin import Twin

import kseq
from kseq import DataError, RandomBatches, SequentialBatches

B, T = 3, 4
IDS = draw_ids(64)
RATE, CLIP = 1.0, 0.5


def epochs_of(batches, epochs):
    """Give the batches of each epoch, whatever epoch `batches` is at."""
    fresh = type(batches)(batches.ids, batches.batch_size, batches.num_steps, seed=batches.seed)
    walked = []
    for epoch in epochs:
        fresh.set_epoch(epoch)
        walked.append(list(fresh))
    return walked


def by_hand(weights, epochs, carry=True):
    """Give the losses of NumPy's training over the batches of `epochs`, without Keras."""
    weights, losses = [w.astype("float64") for w in weights], []
    for batches in epochs:
        state = None
        for ids, targets in batches:
            state = state if carry else None
            loss, gradients, state = oracle.language_model_step(weights, ids, targets, state)
            gradients = oracle.clip_by_global_norm(gradients, CLIP)
            weights = [w - RATE * g for w, g in zip(weights, gradients, strict=True)]
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


# Against truncated backpropagation by hand.


@pytest.fixture(scope="module", params=["simple_rnn", "gru", "lstm"])
def trained(request):
    """Two epochs of a two-layer model: its first weights, its twin in PyTorch, its losses."""
    model = with_sgd(tiny(request.param, num_layers=2, init="torch"), RATE, CLIP)
    first, twin = model.get_weights(), Twin(model)
    losses = fit_losses(model, SequentialBatches(IDS, B, T), epochs=2)
    return first, twin, losses, model


def test_fit_takes_the_steps_of_the_oracle(trained):
    first, _, losses, _ = trained
    epochs = epochs_of(SequentialBatches(IDS, B, T), [0, 1])
    expected = by_hand(first, epochs)
    assert_close(losses, expected)
    # The same steps as the one-epoch reference takes.
    assert_close(expected[:5], oracle.train_language_model(first, epochs[0], RATE, CLIP))
    # And a state forgotten at each batch would show.
    assert np.abs(losses - by_hand(first, epochs, carry=False)).max() > 1e-3


def test_fit_takes_the_steps_of_bare_pytorch(trained):
    _, twin, losses, model = trained
    epochs = epochs_of(SequentialBatches(IDS, B, T), [0, 1])
    expected = [loss for batches in epochs for loss in twin.train_on(batches, RATE, CLIP)]
    assert_close(losses, expected)
    found = logits_of(model, IDS[None, :T])
    theirs, _ = twin(torch.from_numpy(IDS[None, :T]).long())
    assert_close(found, theirs.detach().numpy())


@pytest.mark.parametrize(
    "options", [{"embedding_dim": 4}, {"tie_weights": True}], ids=["embedding", "tied"]
)
def test_models_with_embeddings_take_the_steps_of_bare_pytorch(options):
    model = with_sgd(tiny("gru", init="torch", **options), RATE, CLIP)
    twin, batches = Twin(model), SequentialBatches(IDS, B, T)
    losses = fit_losses(model, batches)
    assert_close(losses, twin.train_on(epochs_of(batches, [0])[0], RATE, CLIP))


# Where the state starts.


def test_random_batches_start_at_zero():
    model = with_sgd(tiny(init="torch"), RATE, CLIP)
    first, batches = model.get_weights(), RandomBatches(IDS, B, T)
    losses = fit_losses(model, batches, epochs=2)
    assert_close(losses, by_hand(first, epochs_of(batches, [0, 1]), carry=False))


def test_evaluate_carries_for_sequential_batches_alone():
    model = with_sgd(tiny(init="torch"))
    model.set_weights([3 * w for w in model.get_weights()])
    weights, batches = model.get_weights(), SequentialBatches(IDS, B, T, seed=1)
    judged = list(batches.from_first_token())
    carried = judged_by_hand(weights, judged)
    assert np.abs(carried - judged_by_hand(weights, judged, carry=False)).max() > 1e-3
    for _ in range(2):
        loss, perplexity = model.evaluate(batches, verbose=0)
        assert_close([loss, perplexity], [carried, np.exp(carried)])
    assert same(model.get_weights(), weights)
    # Arrays of the same size after it: nothing of the state is left.
    loss, _ = model.evaluate(*judged[1], batch_size=B, verbose=0)
    assert_close(loss, judged_by_hand(weights, judged[1:2]))


def test_fit_after_fit_with_other_batches():
    model = with_sgd(tiny(init="torch"), RATE, CLIP)
    arrays = epochs_of(SequentialBatches(IDS, B, T), [0])[0][1]
    for batches in (
        SequentialBatches(IDS, B, T),
        RandomBatches(IDS, B, T),
        SequentialBatches(IDS, 2, T),
        arrays,
        SequentialBatches(IDS, B, T),
    ):
        first = model.get_weights()
        if batches is arrays:
            found = model.fit(*arrays, batch_size=B, verbose=0).history["loss"]
            expected = by_hand(first, [[arrays]])
        else:
            found = fit_losses(model, batches)
            carry = isinstance(batches, SequentialBatches)
            expected = by_hand(first, epochs_of(batches, [0]), carry)
        assert_close(found, expected)


def test_a_fit_may_begin_at_a_later_epoch():
    model, batches = with_sgd(tiny(init="torch"), RATE, CLIP), SequentialBatches(IDS, B, T)
    first = model.get_weights()
    losses = fit_losses(model, batches, initial_epoch=3, epochs=4)
    assert_close(losses, by_hand(first, epochs_of(batches, [3])))
    assert np.abs(losses - by_hand(first, epochs_of(batches, [0]))).max() > 1e-3


# Validation.


def test_validation_neither_disturbs_training_nor_is_disturbed():
    held_out, runs = SequentialBatches(draw_ids(40, seed=1), 2, 5), []
    for validation in (None, held_out):
        model = with_sgd(tiny(num_layers=2, init="torch", dropout=0.5), RATE, CLIP)
        notes = NoteWeights()
        losses = fit_losses(
            model,
            SequentialBatches(IDS, B, T),
            epochs=2,
            validation_data=validation,
            callbacks=[notes],
        )
        runs.append((losses, model.get_weights(), model, notes))
    (losses, weights, *_), (judged_losses, judged_weights, model, notes) = runs
    assert np.array_equal(losses, judged_losses)
    assert same(weights, judged_weights)
    for epoch_weights, logs in zip(notes.weights, notes.logs, strict=True):
        model.set_weights(epoch_weights)
        loss, perplexity = model.evaluate(held_out, verbose=0)
        assert_close([logs["val_loss"], logs["val_perplexity"]], [loss, perplexity], 1e-6)
    expected = np.exp(judged_losses[-5:].mean())
    assert_close(notes.logs[-1]["perplexity"], expected)


def test_a_callback_may_evaluate_in_the_middle_of_a_fit():
    runs, held_out = [], SequentialBatches(draw_ids(40, seed=1), 2, 5)

    class Evaluate(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch in (1, 4):
                self.model.evaluate(held_out, verbose=0)

    for callbacks in ([], [Evaluate()]):
        model = with_sgd(tiny(init="torch"), RATE, CLIP, metrics=[])
        fit_losses(model, SequentialBatches(IDS, B, T), epochs=2, callbacks=callbacks)
        runs.append(model.get_weights())
    assert same(*runs)


class NoteWeights(keras.callbacks.Callback):
    """Keeps the weights and the figures of each epoch."""

    def __init__(self):
        super().__init__()
        self.weights, self.logs = [], []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self.model.get_weights())
        self.logs.append(dict(logs))


# Nothing of it stays.


def test_the_state_is_no_weight_and_in_no_file(tmp_path):
    model, seen = with_sgd(tiny(init="torch"), RATE, CLIP), {}

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                seen["weights"] = [w.path for w in self.model.weights]
                seen["carried"] = [to_numpy(v) for v in self.model._carry.variables]
                self.model.save(tmp_path / "midway.keras")

    weights = [w.path for w in model.weights]
    fit_losses(model, SequentialBatches(IDS, B, T), callbacks=[Look()])
    model.save(tmp_path / "after.keras")
    assert seen["weights"] == [w.path for w in model.weights] == weights
    assert [state.shape for state in seen["carried"]] == [(B, UNITS)]
    assert seen["carried"][0].any()
    assert members(tmp_path / "midway.keras") == members(tmp_path / "after.keras")
    assert (B, UNITS) not in members(tmp_path / "midway.keras").values()
    assert len(kseq.load_model(tmp_path / "midway.keras").variables) == len(model.variables)


def members(path):
    """Give the shape of every array in a model file, by its name."""
    shapes = {}

    def note(name, item):
        if isinstance(item, h5py.Dataset):
            shapes[name] = item.shape

    with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as file:
        h5py.File(file).visititems(note)
    return shapes


def test_an_interrupted_fit_leaves_a_model_that_carries_nothing():
    model, batches = with_sgd(tiny(init="torch"), RATE, CLIP), SequentialBatches(IDS, B, T)
    held_out = SequentialBatches(draw_ids(40, seed=1), 2, 5)
    with pytest.raises(KeyboardInterrupt):
        fit_losses(model, batches, validation_data=held_out, callbacks=[Interrupt(step=3)])
    first = model.get_weights()
    ids, targets = epochs_of(batches, [0])[0][2]
    once, twice = (logits_of(model, ids, training=True) for _ in range(2))
    assert same([once], [twice])
    assert_close(oracle.mean_nats(once, targets), judged_by_hand(first, [(ids, targets)]))
    batches.set_epoch(0)
    assert_close(fit_losses(model, batches), by_hand(first, epochs_of(batches, [0])))


# Ids.


@pytest.mark.parametrize("use", ["fit", "validation", "evaluate"])
def test_ids_beyond_the_vocabulary_are_refused_before_any_step(use):
    model, good = with_sgd(tiny()), SequentialBatches(IDS, B, T)
    bad = SequentialBatches(np.append(IDS, V), B, T)
    weights = model.get_weights()
    call = {
        "fit": lambda: model.fit(bad, verbose=0),
        "validation": lambda: model.fit(good, validation_data=bad, verbose=0),
        "evaluate": lambda: model.evaluate(bad, verbose=0),
    }[use]
    with pytest.raises(DataError, match=r"^batches: token ids must be below .* 7, found 7; build"):
        call()
    assert same(model.get_weights(), weights)
