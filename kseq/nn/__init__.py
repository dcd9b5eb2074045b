"""Keras pieces, free of any engine: layers, models, batches, metrics, optimizers."""
