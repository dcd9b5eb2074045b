"""Batches handed to Keras's `fit` on PyTorch without a loader around them.

Keras wraps a dataset that is already batched in PyTorch's DataLoader, which costs a sixth of a
millisecond a batch and changes nothing.  Imported when it is needed: it imports Keras.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keras.ops import convert_to_tensor
from keras.src.trainers.data_adapters.data_adapter import DataAdapter


class PairAdapter(DataAdapter):
    """What `fit` and `evaluate` read pairs of arrays from, in the order of the batches.

    batches: a PyDataset that one worker reads.
    """

    def __init__(self, batches: Any) -> None:
        self.batches = batches

    def get_torch_dataloader(self) -> Iterator[tuple[Any, Any]]:
        """Yield the inputs and targets of each batch of the epoch as tensors."""
        for index in range(len(self.batches)):
            x, y = self.batches[index]
            yield convert_to_tensor(x), convert_to_tensor(y)

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        return len(self.batches)

    @property
    def batch_size(self) -> None:
        """Return None, as Keras's adapter of a PyDataset does: batches may differ."""
        return

    def on_epoch_begin(self) -> None:
        """Tell the batches; Keras calls this."""
        self.batches.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Tell the batches; Keras calls this."""
        self.batches.on_epoch_end()
