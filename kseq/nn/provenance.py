"""What a model file says of itself: what it was trained on, and the numbers it reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from kseq.version import __version__

RESULTS = ("epoch", "loss", "perplexity", "val_loss", "val_perplexity")


class Provenance:
    """Facts about a model's training, kept inside its file.

    corpus: name, sha256, level, cleaning, separator and part of the training text, or None.
    series: name, column, points and training points of the training series, or None.
    epochs: how many epochs the model has been trained.
    results: loss and perplexity, training and held-out, of the epoch the weights are from.
    """

    def __init__(self, facts: Mapping[str, Any] | None = None) -> None:
        facts = facts or {}
        self.corpus: dict[str, Any] | None = facts.get("corpus")
        self.series: dict[str, Any] | None = facts.get("series")
        self.epochs: int = int(facts.get("epochs", 0))
        self.results: dict[str, float] = dict(facts.get("results", {}))
        self.kseq_version: str | None = facts.get("kseq_version")

    @property
    def level(self) -> str | None:
        """What a token is, "char" or "word", or None while the model has seen no corpus."""
        return self.corpus["level"] if self.corpus else None

    def note_corpus(self, corpus: Any) -> None:
        """Remember where the training text came from and how it was prepared."""
        if corpus is not None:
            self.corpus = corpus.provenance

    def note_epoch(self, figures: Mapping[str, Any]) -> None:
        """Count one more epoch and remember its figures."""
        self.epochs += 1
        self.note_best(figures)

    def note_best(self, figures: Mapping[str, Any]) -> None:
        """Remember the figures of the epoch whose weights the model has."""
        self.results = {name: float(value) for name, value in figures.items() if name in RESULTS}

    def to_dict(self) -> dict[str, Any]:
        return {
            "corpus": self.corpus,
            "series": self.series,
            "epochs": self.epochs,
            "results": self.results,
            "kseq_version": __version__,
        }


class NoteResults(keras.callbacks.Callback):
    """Write the figures of each epoch into the model's provenance."""

    def __init__(self, provenance: Provenance) -> None:
        super().__init__()
        self.provenance = provenance

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.provenance.note_epoch({"epoch": epoch + 1, **(logs or {})})
