"""Experiments: a series and a plan in, a trained forecaster and its honest numbers out."""
