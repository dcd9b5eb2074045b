"""Batches of several lengths handed to Keras's `fit` on TensorFlow.

Imported when it is needed: it imports Keras.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter


class PairAdapter(PyDatasetAdapter):
    """What `fit` reads pairs of ids (B, T) from, T another in each batch.

    batches: a PyDataset that one worker reads.
    """

    def __init__(self, batches: Any) -> None:
        super().__init__(batches, shuffle=False)
        ids = tf.TensorSpec((None, None), tf.int32)
        self._output_signature = (ids, ids)
