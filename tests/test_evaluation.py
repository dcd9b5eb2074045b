"""`evaluate`, and validation inside `fit`: a state of its own, from the first token on."""

import keras
import numpy as np
from by_hand import assert_close, judged_by_hand
from language_cases import draw_ids, fit_losses, same, tiny, with_sgd

from kseq import RandomBatches, SequentialBatches

B, T = 3, 4
IDS = draw_ids(64)


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


def test_evaluate_reads_random_batches_in_the_order_of_the_text():
    model, batches = with_sgd(tiny(init="torch")), RandomBatches(IDS, B, T, seed=1)
    judged = list(RandomBatches(IDS, B, T, seed=None))
    for _ in range(2):
        loss, _ = model.evaluate(batches, verbose=0)
        assert_close(loss, judged_by_hand(model.get_weights(), judged, carry=False))
    assert batches.epoch == 0


def test_validation_neither_disturbs_training_nor_is_disturbed():
    held_out, runs = SequentialBatches(draw_ids(40, seed=1), 2, 5), []
    for validation in (None, held_out):
        model = with_sgd(tiny(num_layers=2, init="torch", dropout=0.5))
        batches = SequentialBatches(IDS, B, T)
        losses = fit_losses(model, batches, epochs=2, validation_data=validation)
        runs.append((losses, model.get_weights()))
    (losses, weights), (judged_losses, judged_weights) = runs
    assert np.array_equal(losses, judged_losses)
    assert same(weights, judged_weights)
    # The second validation starts at zero too, and not where the first one ended.
    last = {name: values[-1] for name, values in model.history.history.items()}
    judged = model.evaluate(held_out, verbose=0)
    assert_close([last["val_loss"], last["val_perplexity"]], judged, 1e-6)
    assert_close(last["perplexity"], np.exp(judged_losses[-5:].mean()))


def test_validation_carries_whatever_the_training_data():
    model, held_out = with_sgd(tiny(init="torch")), SequentialBatches(IDS, 2, 4)
    ids = draw_ids(30, seed=1).reshape(5, 6)
    history = model.fit(ids, ids, batch_size=5, validation_data=held_out, verbose=0).history
    assert_close(history["val_loss"], model.evaluate(held_out, verbose=0)[0], 1e-6)


def test_a_callback_may_generate_in_the_middle_of_an_evaluation():
    model, held_out, texts = with_sgd(tiny()), SequentialBatches(IDS, 2, 4), []

    class Speak(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            texts.append(self.model.generate("abc", 5))

    loss = model.evaluate(held_out, callbacks=[Speak()], verbose=0)
    assert texts == [model.generate("abc", 5)] * len(held_out)
    assert model.evaluate(held_out, verbose=0) == loss


def test_a_callback_may_evaluate_in_the_middle_of_a_fit():
    runs, held_out = [], SequentialBatches(draw_ids(40, seed=1), 2, 5)

    class Evaluate(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                self.model.evaluate(held_out, verbose=0)

    for callbacks in ([], [Evaluate()]):
        model = with_sgd(tiny(init="torch"), metrics=[])
        fit_losses(model, SequentialBatches(IDS, B, T), callbacks=callbacks)
        runs.append(model.get_weights())
    assert same(*runs)
