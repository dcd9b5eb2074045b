"""What makes a forecaster good on the noisy sine: one choice changed at a time, over many seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kseq.data.baselines import AutoRegression, Mean, Persistence
from kseq.data.processes import noisy_sine
from kseq.experiments.fitting import compiled, fitted
from kseq.experiments.plan import SINE_DIRECT, SINE_MLP, SINE_RECURRENT, Plan
from kseq.forecasting import errors_ahead
from kseq.nn.forecaster import Forecaster

POINTS, TRAIN, HORIZON = 1000, 600, 64
STEPS = (1, 16, 64)

Row = Plan | Any

# The indented rows change one thing of the one above them.
FORECASTERS: dict[str, Row] = {
    "persistence": Persistence(),
    "mean of last 4": Mean(4),
    "AR(4)": AutoRegression(4, direct=True),
    "direct AR(64), ridge 10": AutoRegression(64, 10.0, direct=True),
    "direct AR(128), ridge 10": AutoRegression(128, 10.0, direct=True),
    "direct AR(192), ridge 10": AutoRegression(192, 10.0, direct=True),
    "book's perceptron: 4 lags, fed on itself": SINE_MLP.changed(train=TRAIN),
    "recurrent state: LSTM over the whole past": SINE_RECURRENT,
    "ours: 192 lags, direct, rank 4, decay, no constant": SINE_DIRECT,
    "  with 4 lags": SINE_DIRECT.changed(window=4),
    "  with 64 lags": SINE_DIRECT.changed(window=64),
    "  with 128 lags": SINE_DIRECT.changed(window=128),
    "  fed on itself instead of direct": SINE_DIRECT.changed(outputs=1),
    "  with 64 relu units instead of rank 4": SINE_DIRECT.changed(units=64, activation="relu"),
    "  without weight decay": SINE_DIRECT.changed(weight_decay=0.0),
    "  with a constant": SINE_DIRECT.changed(use_bias=True),
}


def compare_forecasters(
    seeds: Sequence[int],
    rows: Sequence[str] = tuple(FORECASTERS),
    report: Callable[[str, np.ndarray], None] | None = None,
) -> dict[str, np.ndarray]:
    """Return the root mean square error of each row at 1, 16 and 64 steps ahead.

    The first 600 points train, every point after them is judged; a row's number is the mean over
    the seeds, each of which draws the noise and the initial weights.

    Args:
        seeds: at least one.
        rows: names out of `FORECASTERS`.
        report: called with the name and the errors (seeds, 3) of each row.

    Returns:
        (seeds, 3) for each row.

    Example:
        >>> compare_forecasters([0], ["persistence"])["persistence"].shape
        (1, 3)
    """
    found = {}
    for name in rows:
        found[name] = np.stack([_errors(FORECASTERS[name], seed) for seed in seeds])
        if report:
            report(name, found[name])
    return found


def _errors(row: Row, seed: int) -> np.ndarray:
    series = noisy_sine(POINTS, seed)
    forecaster = _trained(row, series, seed) if isinstance(row, Plan) else row.fit(series[:TRAIN])
    return errors_ahead(forecaster, series, HORIZON, TRAIN)[[k - 1 for k in STEPS]]


def _trained(plan: Plan, series: np.ndarray, seed: int) -> Forecaster:
    plan = plan.changed(seed=seed)
    model = compiled(plan)
    fitted(model, series, plan, None)
    return model
