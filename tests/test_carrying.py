"""`fit` carries the state: step by step the losses of truncated backpropagation written by hand."""

import zipfile

import h5py
import keras
import numpy as np
import oracle
import pytest
import torch
from by_hand import assert_close, epochs_of, judged_by_hand, trained_by_hand
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


def by_hand(weights, epochs, carry=True):
    return trained_by_hand(weights, epochs, RATE, CLIP, carry)


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


def test_fit_after_fit_with_other_batches():
    model = with_sgd(tiny(init="torch"), RATE, CLIP)
    arrays = epochs_of(SequentialBatches(IDS, B, T), [0])[0][1]
    for batches in (
        SequentialBatches(IDS, B, T),
        arrays,
        RandomBatches(IDS, B, T),
        SequentialBatches(IDS, 2, T),
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
