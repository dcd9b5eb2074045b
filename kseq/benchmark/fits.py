"""`model.fit` as a contender: measured while it runs, epoch by epoch, without what comes before.

Keras compiles its step anew for each `fit` that carries a state.  On JAX and TensorFlow that takes
seconds, so one `fit` runs on its own thread and waits between measurements.  On PyTorch a second
thread would bring a second pool of OpenMP threads, and more of them than cores wait more slowly;
there each measurement is a `fit` of its own.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import keras

from kseq.backend import engine
from kseq.benchmark.measuring import Contender

_FOREVER = 10**9


def fitting(model: Any, data: dict[str, Any], amount: float) -> Contender:
    """Return a contender that fits a compiled model.

    data: the arguments of `fit` that say what is learnt.
    amount: what one epoch does: tokens, or steps.
    """
    kind = _RepeatedFit if engine() == "torch" else _PausedFit
    return kind(model, {"verbose": 0, "epochs": _FOREVER, **data}, amount)


class _RepeatedFit:
    def __init__(self, model: Any, arguments: dict[str, Any], amount: float) -> None:
        self.model, self.arguments, self.amount = model, arguments, amount

    def measure(self, seconds: float) -> tuple[float, float]:
        clock = _Clock(seconds)
        self.model.fit(**self.arguments, callbacks=[clock])
        return self.amount * clock.epochs, clock.passed

    def close(self) -> None:
        pass


class _Clock(keras.callbacks.Callback):
    """Time whole epochs, and end the training after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.epochs, self.passed = seconds, 0, 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        del logs
        if epoch == 0:
            self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        del logs
        self.epochs, self.passed = epoch + 1, time.perf_counter() - self.began
        if self.passed >= self.seconds:
            self.model.stop_training = True


class _PausedFit:
    def __init__(self, model: Any, arguments: dict[str, Any], amount: float) -> None:
        self.model, self.arguments, self.amount = model, arguments, amount
        self.gate, self.error = _Gate(), None
        self.thread = threading.Thread(target=self._fit, daemon=True)

    def measure(self, seconds: float) -> tuple[float, float]:
        done, began = 0.0, time.perf_counter()
        while True:
            self._one_epoch()
            done += self.amount
            passed = time.perf_counter() - began
            if passed >= seconds:
                return done, passed

    def close(self) -> None:
        self.gate.ended = True
        self.gate.may_go.release()
        if self.thread.ident is not None:
            self.thread.join()

    def _one_epoch(self) -> None:
        if self.thread.ident is None:
            self.thread.start()
        self.gate.may_go.release()
        self.gate.done.acquire()
        if self.error is not None:
            raise self.error

    def _fit(self) -> None:
        try:
            self.model.fit(**self.arguments, callbacks=[self.gate])
        except _Ended:
            pass
        except Exception as error:
            self.error = error
        finally:
            self.gate.done.release()


class _Gate(keras.callbacks.Callback):
    """Hold a training where an epoch begins, until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.ended = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        del logs
        if epoch > 0:
            self.done.release()
        self.may_go.acquire()
        if self.ended:
            raise _Ended


class _Ended(Exception):  # noqa: N818 - no error: the way out of a `fit`
    pass
