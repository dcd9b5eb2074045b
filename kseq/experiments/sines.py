"""Two published experiments on a clean sine: a recurrent network's free run, and a small LSTM.

Both learn at every step of a sequence what comes one step later.  What they are judged by goes
beyond what was published: the free run, and persistence beside the LSTM.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kseq.checks import positive_int
from kseq.data.processes import clean_sine
from kseq.data.scores import rmse
from kseq.data.series import sequence_windows
from kseq.nn.forecaster import Forecaster
from kseq.nn.optimizers import NEVER, clipped_optimizer
from kseq.nn.series_batches import SineSegments

# Published losses of single iterations, from 0 on, 100 apart.
PUBLISHED_RNN = (0.610, 0.00776, 0.00115, 0.00088, 0.00050, 0.00050, 0.00098, 0.00041, 0.00107)
RNN_ITERATIONS = 6000
GIVEN = (1, 2, 5, 10, 20)
LSTM_EPOCHS = 10


@dataclass(eq=False)
class SineRnn:
    """What came of the recurrent network.

    losses: the loss of each iteration, before its step.
    truth: the sine it runs along, (60,).
    runs: its forecasts from the first 1, 2, 5 ... values on, (60 - given,) by how many are given.
    """

    model: Forecaster
    losses: list[float]
    truth: np.ndarray
    runs: dict[int, np.ndarray]

    @property
    def free_run(self) -> np.ndarray:
        """The published one, from the first value alone, (59,)."""
        return self.runs[1]

    def errors(self) -> dict[int, float]:
        """Return the root mean square error of each run by how many values were given."""
        return {given: float(rmse(self.truth[given:], run)) for given, run in self.runs.items()}


def sine_rnn(
    seed: int = 0,
    iterations: int = RNN_ITERATIONS,
    report: Callable[[int, float], None] | None = None,
) -> SineRnn:
    """Train two recurrent layers of 10 on pieces of a sine, then let them run free.

    Each iteration reads 59 points and learns the same a step later; the state is carried from
    iteration to iteration without its gradient.  Adam at 0.005, squared error, initial weights as
    PyTorch draws them.  Afterwards the network gets one value and a zero state, and feeds on its
    own output for 59 steps.  One value does not tell whether the sine rises or falls, so runs from
    the first few values stand beside it.

    Args:
        seed: draws the weights and the pieces.
        iterations: 6000 in the published run.
        report: called with the number and the loss of each iteration.

    Source: a well-known tutorial on PyTorch's `nn.RNN`; the published losses are `PUBLISHED_RNN`.

    Example:
        >>> found = sine_rnn(iterations=3)
        >>> len(found.losses), found.free_run.shape
        (3, (59,))
    """
    iterations = positive_int("iterations", iterations)
    model = Forecaster("simple_rnn", None, units=10, num_layers=2, init="torch", seed=seed)
    model.compile(clipped_optimizer("adam", 0.005, NEVER))
    losses = _LossOfEachBatch(report)
    model.fit(SineSegments(iterations, seed), epochs=1, callbacks=[losses], verbose=0)
    truth = clean_sine(60, step=10 / 59)
    runs = {given: model.forecast(truth[:given], 60 - given) for given in GIVEN}
    return SineRnn(model, losses.losses, truth, runs)


class _LossOfEachBatch(keras.callbacks.Callback):
    """Undoes Keras's running mean over the epoch."""

    def __init__(self, report: Callable[[int, float], None] | None) -> None:
        super().__init__()
        self.report, self.total = report, 0.0
        self.losses: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        total = float((logs or {})["loss"]) * (batch + 1)
        self.losses.append(total - self.total)
        self.total = total
        if self.report:
            self.report(batch, self.losses[-1])


@dataclass(eq=False)
class SineLstm:
    """What came of the LSTM.

    series: (900,); forecast: what the model says of each point after the first 10, (890,), one
    step ahead; num_train: pairs trained on.
    losses: mean squared error over the training pairs in each epoch.
    """

    model: Forecaster
    series: np.ndarray
    forecast: np.ndarray
    num_train: int
    losses: list[float]

    def mse(self) -> dict[str, float]:
        """Return the mean squared error one step ahead after the training pairs, and floors."""
        truth, before = self.series[10:][self.num_train :], self.series[9:-1][self.num_train :]
        model = float(np.mean((self.forecast[self.num_train :] - truth) ** 2, dtype="float64"))
        persistence = float(np.mean((before - truth) ** 2, dtype="float64"))
        return {"lstm": model, "persistence": persistence, "two exact lags": 0.0}


def sine_lstm(
    seed: int = 0,
    epochs: int = LSTM_EPOCHS,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> SineLstm:
    """Train an LSTM of 6 units on 700 windows of 10 points of a sine; forecast the rest.

    The points are sin(1.00), sin(1.01) ... sin(9.99); the targets of a window are its points one
    step later; stochastic gradient descent at 0.01, one window at a time; a linear read-out.

    Args:
        seed: draws the weights and the order of the windows.
        epochs: 10 in the published run.
        report: called after each epoch with its number and loss.

    Source: a public notebook; the original shows its results only as pictures.

    Example:
        >>> sine_lstm(epochs=1).forecast.shape
        (890,)
    """
    series = clean_sine(900, step=0.01, start=1.0)
    x, y = sequence_windows(series, 10)
    model = Forecaster("lstm", 10, units=6, every_step=True, init="torch", seed=seed)
    model.compile(clipped_optimizer("sgd", 0.01, NEVER))
    told = [] if report is None else [_TellEpochs(report)]
    history = model.fit(
        x[:700],
        y[:700],
        batch_size=1,
        epochs=positive_int("epochs", epochs),
        callbacks=told,
        verbose=0,
    )
    forecast = model.forecast(x[..., 0], 1)[:, 0]
    return SineLstm(model, series, forecast, 700, list(map(float, history.history["loss"])))


class _TellEpochs(keras.callbacks.Callback):
    def __init__(self, report: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self.report = report

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.report({"epoch": epoch + 1, "loss": float((logs or {})["loss"])})
