"""plot_*: pictures as matplotlib Figures; never shown, never saved here."""

from kseq.figures.training import plot_training

__all__ = ["plot_training"]
