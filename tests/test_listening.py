"""A list of callbacks that calls only those who listen."""

import keras
import pytest

import kseq
from kseq.nn.listening import Listeners
from kseq.nn.series_batches import PairBatches

pytestmark = pytest.mark.engine("torch")

PAIRS = kseq.windows(kseq.noisy_sine(60), window=4)


def compiled():
    model = kseq.Forecaster("mlp", units=5)
    model.compile()
    return model


def fit(model, *callbacks):
    return model.fit(*PAIRS, batch_size=16, verbose=0, callbacks=list(callbacks))


class OldNames(keras.callbacks.Callback):
    """Listens by the name that Keras's own method calls."""

    heard = 0

    def on_batch_end(self, batch, logs=None):
        self.heard += 1


def test_nobody_is_called_for_a_batch_who_does_not_listen(monkeypatch):
    called = []
    monkeypatch.setattr(
        keras.callbacks.CallbackList, "on_train_batch_end", lambda *given: called.append(given)
    )
    fit(compiled(), keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None))
    assert not called

    fit(compiled(), OldNames())
    assert len(called) == 4


def test_whoever_listens_by_the_older_name_is_called():
    callback = OldNames()
    fit(compiled(), callback)

    assert callback.heard == 4


def test_a_list_of_the_callers_own_sees_the_logs_of_each_batch():
    losses, model = [], compiled()
    seen = keras.callbacks.LambdaCallback(on_train_batch_end=lambda _, logs: losses.append(logs))
    callbacks = keras.callbacks.CallbackList([seen], add_history=True, model=model)
    model.fit(PairBatches(*PAIRS, 16), callbacks=callbacks, verbose=0)

    assert len({logs["loss"] for logs in losses}) == 4


def test_a_callback_may_stop_the_training_in_an_epoch():
    def stop(batch, logs):
        model.stop_training = batch == 1

    model = compiled()
    fit(model, keras.callbacks.LambdaCallback(on_train_batch_end=stop))

    assert int(model.optimizer.iterations.value) == 2


def test_the_history_is_the_models(monkeypatch):
    used = []
    began = Listeners.on_train_begin
    monkeypatch.setattr(
        Listeners, "on_train_begin", lambda self, logs=None: used.append(began(self, logs))
    )
    model = compiled()
    history = fit(model)

    assert used
    assert model.history is history
    assert list(history.history) == ["loss"]
    assert history.params == {"verbose": 0, "epochs": 1, "steps": 4}
