"""One JAX process that shares the rows of a batch out among its devices, through Keras."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
from keras.distribution import DataParallel, TensorLayout

from kseq.errors import UsageError


class EvenRows(DataParallel):
    """Keras's data parallelism, where rows that cannot be shared equally go to every device."""

    def __init__(self) -> None:
        # Keras would have TensorFlow divide data sets, which ours are not.
        super().__init__(auto_shard_dataset=False)

    def get_data_layout(self, data_shape: Any) -> TensorLayout:
        """Return how an array of this shape lies on the devices."""
        if data_shape[0] % len(jax.devices()):
            return TensorLayout([None] * len(data_shape), self.device_mesh)
        return super().get_data_layout(data_shape)


@contextmanager
def over_devices(batch_size: int | None = None) -> Iterator[None]:
    """Let models that are made in the block train on all devices.

    Raises:
        UsageError: there is one device, or they cannot share a batch equally.
    """
    count = len(jax.devices())
    if count < 2:
        raise UsageError(
            "data_parallel: must have at least 2 devices, found 1; leave it out, or on a CPU set "
            "XLA_FLAGS=--xla_force_host_platform_device_count=2"
        )
    if batch_size is not None and batch_size % count:
        raise UsageError(
            f"batch_size: must be a multiple of the {count} devices, found {batch_size}; choose "
            f"{batch_size - batch_size % count or count}"
        )
    with EvenRows().scope():
        yield
