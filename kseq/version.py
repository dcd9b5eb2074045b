"""The version of kseq, in one place; model files carry it."""

__version__ = "0.1.0"
