"""Callbacks that are called for what they listen to, and no more.

Keras turns every metric into a Python float after every batch and calls every callback, though
most of them read an epoch's end alone.
"""

from __future__ import annotations

from typing import Any

import keras

_BATCH_EVENTS = {
    # Keras's own methods call the older names.
    "train_begin": ("on_train_batch_begin", "on_batch_begin"),
    "train_end": ("on_train_batch_end", "on_batch_end"),
    "test_begin": ("on_test_batch_begin",),
    "test_end": ("on_test_batch_end",),
}


class Listeners(keras.callbacks.CallbackList):
    """Keras's list of callbacks, which skips the events of a batch that no callback has a say in.

    Whoever has one gets the same batch numbers and logs as from Keras; metrics are not read for
    callbacks whose `reads_logs` is false.  For models whose steps
    are planned (`kseq.nn.stepping`): at each epoch's begin they are planned anew, for a callback
    may have changed what is trained and how.
    """

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        self._ask()

    def on_test_begin(self, logs: Any = None) -> None:
        super().on_test_begin(logs)
        self._ask()
        _make_lazy(self.model.test_function)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_begin(epoch, logs)
        self.model.make_train_function(force=True)
        _make_lazy(self.model.train_function)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if "train_begin" in self.heard:
            super().on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if "train_end" in self.heard:
            super().on_train_batch_end(batch, self._read("train_end", logs))

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        if "test_begin" in self.heard:
            super().on_test_batch_begin(batch, logs)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        if "test_end" in self.heard:
            super().on_test_batch_end(batch, self._read("test_end", logs))

    def _ask(self) -> None:
        hearing = {
            event: [c for c in self.callbacks if any(_overrides(c, name) for name in names)]
            for event, names in _BATCH_EVENTS.items()
        }
        self.heard = {event for event, callbacks in hearing.items() if callbacks}
        self.reading = {
            event
            for event, callbacks in hearing.items()
            if any(getattr(callback, "reads_logs", True) for callback in callbacks)
        }

    def _read(self, event: str, logs: Any) -> dict[str, Any]:
        """Return the metrics as numbers where a callback reads them."""
        return dict(logs or {}) if event in self.reading else {}


def listeners(callbacks: list[Any], model: Any, steps: int, **options: Any) -> Listeners:
    """Return the list that `fit` would make of the callbacks.

    steps: batches in an epoch.  options: `verbose`, `epochs`, and whether to `add_history`.
    """
    verbose = options.pop("verbose", "auto")
    return Listeners(
        callbacks, add_progbar=verbose != 0, verbose=verbose, steps=steps, model=model, **options
    )


def _overrides(callback: Any, name: str) -> bool:
    method = getattr(callback, name)
    return getattr(method, "__func__", method) is not getattr(keras.callbacks.Callback, name)


def _make_lazy(step: Any) -> None:
    if hasattr(step, "is_lazy"):
        step.is_lazy = True
