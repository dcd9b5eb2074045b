"""Sequence models in Keras 3: language models, forecasters, and honest numbers beside them.

The public names, in the order in which data flows through them.  Importing this package is
cheap: a name loads its module, and Keras with it, when it is first used.  The engine is
`KERAS_BACKEND`, or torch where that is not set.

Shape letters, the same in every module:

    B  batch size (rows)        D  input features
    T  time steps (num_steps)   H  units of a recurrent layer
    V  size of the vocabulary   N  tokens in a corpus, or points in a series
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from kseq.version import __version__

if "keras" not in sys.modules:
    # A Keras imported earlier has chosen already; kseq then follows it.
    os.environ.setdefault("KERAS_BACKEND", "torch")

_HOMES = {
    "Corpus": "kseq.data.corpora",
    "load_corpus": "kseq.data.corpora",
    "corpus_builder": "kseq.data.builders",
    "Vocab": "kseq.data.vocab",
    "ngram_floors": "kseq.data.floors",
    "ngram_counts": "kseq.data.ngrams",
    "ngram_statistics": "kseq.data.ngrams",
    "NgramModel": "kseq.data.ngram_models",
    "noisy_sine": "kseq.data.processes",
    "clean_sine": "kseq.data.processes",
    "sine_segment": "kseq.data.processes",
    "mackey_glass": "kseq.data.processes",
    "logistic_map": "kseq.data.processes",
    "calendar_series": "kseq.data.processes",
    "read_series": "kseq.data.tables",
    "windows": "kseq.data.series",
    "sequence_windows": "kseq.data.series",
    "split_by_time": "kseq.data.series",
    "Persistence": "kseq.data.baselines",
    "SeasonalNaive": "kseq.data.baselines",
    "AutoRegression": "kseq.data.baselines",
    "standard_baselines": "kseq.data.baselines",
    "SequentialBatches": "kseq.nn.batches",
    "RandomBatches": "kseq.nn.batches",
    "SeriesBatches": "kseq.nn.series_batches",
    "SimpleRNN": "kseq.nn.recurrent",
    "GRU": "kseq.nn.recurrent",
    "LSTM": "kseq.nn.recurrent",
    "SimpleRNNCell": "kseq.nn.cells",
    "GRUCell": "kseq.nn.cells",
    "LSTMCell": "kseq.nn.cells",
    "PeepholeLSTMCell": "kseq.nn.cells",
    "LanguageModel": "kseq.nn.language_model",
    "Forecaster": "kseq.nn.forecaster",
    "Perplexity": "kseq.nn.metrics",
    "BitsPerToken": "kseq.nn.metrics",
    "clipped_optimizer": "kseq.nn.optimizers",
    "schedule": "kseq.nn.schedules",
    "state_gradients": "kseq.nn.through_time",
    "truncation": "kseq.nn.through_time",
    "clipping": "kseq.nn.clipping",
    "train": "kseq.training",
    "load_model": "kseq.saving",
    "inspect_model": "kseq.saving",
    "import_weights": "kseq.saving",
    "k_step": "kseq.forecasting",
    "errors_ahead": "kseq.forecasting",
    "backtest": "kseq.forecasting",
    "compare_forecasters": "kseq.experiments.ablation",
    "FORECASTERS": "kseq.experiments.ablation",
    "ablate_language_model": "kseq.experiments.language_ablation",
    "compare_books": "kseq.experiments.books",
    "books_in_words": "kseq.experiments.books",
    "plot_training": "kseq.figures",
    "plot_losses": "kseq.figures",
    "plot_series": "kseq.figures",
    "plot_forecasts": "kseq.figures",
    "plot_k_step": "kseq.figures",
    "plot_errors": "kseq.figures",
    "plot_free_run": "kseq.figures",
    "plot_intervals": "kseq.figures",
    "plot_state_gradients": "kseq.figures",
    "plot_clipping": "kseq.figures",
    "plot_truncation": "kseq.figures",
    "plot_ngrams": "kseq.figures",
    "devices": "kseq.backend",
    "best_device": "kseq.backend",
    "data_parallel": "kseq.backend.processes",
    "KseqError": "kseq.errors",
    "UsageError": "kseq.errors",
    "DataError": "kseq.errors",
    "ModelFileError": "kseq.errors",
    "FileError": "kseq.errors",
    "NumericalError": "kseq.errors",
}

__all__ = ["__version__", *_HOMES]

_ENGINE_ROOMS = ("kseq.nn", "kseq.training", "kseq.experiments")

if TYPE_CHECKING:
    from kseq.backend import best_device, devices
    from kseq.backend.processes import data_parallel
    from kseq.data.baselines import (
        AutoRegression,
        Persistence,
        SeasonalNaive,
        standard_baselines,
    )
    from kseq.data.builders import corpus_builder
    from kseq.data.corpora import Corpus, load_corpus
    from kseq.data.floors import ngram_floors
    from kseq.data.ngram_models import NgramModel
    from kseq.data.ngrams import ngram_counts, ngram_statistics
    from kseq.data.processes import (
        calendar_series,
        clean_sine,
        logistic_map,
        mackey_glass,
        noisy_sine,
        sine_segment,
    )
    from kseq.data.series import sequence_windows, split_by_time, windows
    from kseq.data.tables import read_series
    from kseq.data.vocab import Vocab
    from kseq.errors import (
        DataError,
        FileError,
        KseqError,
        ModelFileError,
        NumericalError,
        UsageError,
    )
    from kseq.experiments.ablation import FORECASTERS, compare_forecasters
    from kseq.experiments.books import books_in_words, compare_books
    from kseq.experiments.language_ablation import ablate_language_model
    from kseq.figures import (
        plot_clipping,
        plot_errors,
        plot_forecasts,
        plot_free_run,
        plot_intervals,
        plot_k_step,
        plot_losses,
        plot_ngrams,
        plot_series,
        plot_state_gradients,
        plot_training,
        plot_truncation,
    )
    from kseq.forecasting import backtest, errors_ahead, k_step
    from kseq.nn.batches import RandomBatches, SequentialBatches
    from kseq.nn.cells import GRUCell, LSTMCell, PeepholeLSTMCell, SimpleRNNCell
    from kseq.nn.clipping import clipping
    from kseq.nn.forecaster import Forecaster
    from kseq.nn.language_model import LanguageModel
    from kseq.nn.metrics import BitsPerToken, Perplexity
    from kseq.nn.optimizers import clipped_optimizer
    from kseq.nn.recurrent import GRU, LSTM, SimpleRNN
    from kseq.nn.schedules import schedule
    from kseq.nn.series_batches import SeriesBatches
    from kseq.nn.through_time import state_gradients, truncation
    from kseq.saving import import_weights, inspect_model, load_model
    from kseq.training import train


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kseq' has no attribute {name!r}")
    home = _HOMES[name]
    if home.startswith(_ENGINE_ROOMS):
        import_module("kseq.backend").require_engine()
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
