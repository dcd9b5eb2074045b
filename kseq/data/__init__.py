"""Texts, vocabularies and windows as NumPy arrays: this room knows neither Keras nor an engine."""
