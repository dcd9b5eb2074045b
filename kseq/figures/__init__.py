"""plot_*: pictures as matplotlib Figures; never shown, never saved here."""

from kseq.figures.benchmark import plot_benchmark, plot_scaling
from kseq.figures.forecasts import plot_errors, plot_free_run, plot_intervals
from kseq.figures.gradients import plot_clipping, plot_state_gradients, plot_truncation
from kseq.figures.ngrams import plot_ngrams
from kseq.figures.series import plot_forecasts, plot_k_step, plot_series
from kseq.figures.training import plot_losses, plot_training

__all__ = [
    "plot_training",
    "plot_losses",
    "plot_series",
    "plot_forecasts",
    "plot_k_step",
    "plot_errors",
    "plot_free_run",
    "plot_intervals",
    "plot_state_gradients",
    "plot_clipping",
    "plot_truncation",
    "plot_ngrams",
    "plot_benchmark",
    "plot_scaling",
]
