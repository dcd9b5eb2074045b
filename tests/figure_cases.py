"""Figures of series and forecasts as they are drawn in earnest, for the tests of figures."""

import numpy as np

from kseq.figures import (
    plot_errors,
    plot_forecasts,
    plot_free_run,
    plot_intervals,
    plot_k_step,
    plot_losses,
    plot_series,
)

TIMES = np.arange(1, 1001)
NOISE = np.random.default_rng(0).normal(0, 0.2, 1000)
SERIES = (np.sin(0.01 * TIMES) + NOISE).astype("float32")
DAYS = np.arange("2021-01-01", "2024-01-01", dtype="datetime64[D]")
DAILY = 20 + 8 * np.sin(2 * np.pi * np.arange(len(DAYS)) / 365.25)
ONE_STEP = (TIMES[4:], SERIES[3:-1])
MULTI_STEP = (TIMES[604:], np.zeros(396))
K_STEP = {k: (TIMES[k + 3 :], SERIES[k + 3 :] * 0.99**k) for k in (1, 4, 16, 64)}
STEPS = np.arange(1, 65)
NAMES = (
    "persistence",
    "seasonal naive (7)",
    "mean",
    "mean of last 4",
    "AR(4)",
    "direct AR(128), ridge 10",
    "mlp",
    "lstm",
)
ERRORS = {name: 0.2 + 0.001 * i * STEPS for i, name in enumerate(NAMES)}
RECORDS = [
    {"epoch": 1, "loss": 0.107, "val_loss": 0.09},
    {"epoch": 2, "loss": 0.07, "val_loss": 0.06},
    {"epoch": 3, "loss": 0.058, "val_loss": 0.055},
]
FLOORS = {"noise": 0.04, "AR(4)": 0.0495, "mean of last 4": 0.05, "persistence": 0.0793}
SINE = np.sin(np.linspace(1, 11, 60))


def intervals(times=None, truth=SERIES[936:]):
    middle, margin = np.sin(0.01 * (936 + STEPS)), 0.3 + 0.01 * np.sqrt(STEPS)
    ends = (middle - margin, middle + margin)
    return plot_intervals(SERIES[:936], middle, *ends, truth=truth, times=times)


HOURS = np.datetime64("2024-03-01T00:00") + np.arange(1000) * np.timedelta64(10, "m")
FIGURES = {
    "series": lambda: plot_series(SERIES, borders={"training ends": 600}),
    "days": lambda: plot_series(
        DAILY, DAYS, "day", "bicycles (thousand)", {"training ends": DAYS[700], "end": DAYS[900]}
    ),
    "hours": lambda: plot_series(DAILY[:30], HOURS[:30], ylabel="load (MW)"),
    "forecasts": lambda: plot_forecasts(
        SERIES, {"1-step": ONE_STEP, "multi-step": MULTI_STEP}, borders={"training ends": 604}
    ),
    "dated forecast": lambda: plot_forecasts(
        DAILY[-90:], {"lstm": (DAYS[-28:], DAILY[-28:] + 1)}, DAYS[-90:]
    ),
    "k-step": lambda: plot_k_step(K_STEP),
    "errors": lambda: plot_errors(ERRORS, noise=0.2, bold=("mlp", "lstm")),
    "free run": lambda: plot_free_run(SINE, SINE[1:] + 0.1),
    "intervals": intervals,
    "dated intervals": lambda: intervals(HOURS),
    "losses": lambda: plot_losses(RECORDS, FLOORS),
}


def axes_of(figure):
    (axes,) = figure.axes
    return axes
