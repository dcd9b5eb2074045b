"""Several processes that train one model: who they are, and what they have to tell each other.

Whoever starts them, as `torchrun` does, gives each a number in the environment.  A `Team` is what
training asks; of one process it gives back what it got.  Only PyTorch has a larger one
(`kseq.backend.torch_processes`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from kseq.backend import engine, require_engine
from kseq.checks import shown
from kseq.errors import UsageError

_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Place:
    """Which of several processes this one is.

    rank: from 0 to below size; the first one speaks and saves.
    local_rank: its number among those on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this is the process that speaks and saves."""
        return self.rank == 0


def place(environment: Mapping[str, str] = os.environ) -> Place:
    """Return this process's place, as `torchrun` wrote it into the environment.

    Raises:
        UsageError: what is written there is no place.

    Example:
        >>> place({})
        Place(rank=0, size=1, local_rank=0)
    """
    if any(name not in environment for name in _NEEDED):
        return Place()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    told = [environment.get(name, "0") for name in names]
    if not all(text.isdecimal() for text in told) or not int(told[0]) < int(told[1]):
        raise UsageError(
            "RANK: must be a number below WORLD_SIZE, found "
            f"{shown(told[0])} of {shown(told[1])}; start the processes with torchrun, or unset it"
        )
    return Place(*map(int, told))


def check_place(batch_size: int) -> Place:
    """Return this process's place, where the engine and the size of a batch allow it.

    Raises:
        UsageError: another engine than PyTorch, or rows that cannot be shared equally.
    """
    here = place()
    if here.size > 1 and engine() != "torch":
        raise UsageError(
            f"WORLD_SIZE: must be 1 on {engine()}, found {here.size}; train in several processes "
            "on torch, or on JAX in one process with --data-parallel"
        )
    if batch_size % here.size:
        raise UsageError(
            f"batch_size: must be a multiple of the {here.size} processes, found {batch_size}; "
            f"choose {batch_size - batch_size % here.size or here.size}, or start others"
        )
    return here


class Team:
    """The processes that train together, seen from one; this one is alone."""

    def __init__(self, here: Place | None = None) -> None:
        self.place = here or Place()
        # What every process wishes for in its next step, and what came of it.
        self.wishes: Sequence[float] = ()
        self.heard: Sequence[float] | None = None

    @property
    def leads(self) -> bool:
        """Whether this process speaks and saves."""
        return self.place.leads

    @property
    def is_alone(self) -> bool:
        """Whether there is no other process."""
        return self.place.size == 1

    def check_devices(self, variables: Sequence[Any]) -> None:
        """Refuse an accelerator that another process has too."""

    def total(self, values: np.ndarray) -> np.ndarray:
        """Return the sums over all processes, float64, the same bits in each."""
        return values

    def stacked(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows (B / P, ...) of all processes as one array (B, ...)."""
        return rows

    def told(self, content: bytes | None) -> bytes | None:
        """Return what the leading process passes."""
        return content

    def level(self, variables: Sequence[Any]) -> None:
        """Give the variables the values they have in the leading process."""

    def agreed(self) -> Sequence[float]:
        """Return the sums of the wishes that went with the last step, or else ask for them."""
        heard, self.heard = self.heard, None
        return list(self.total(np.asarray(self.wishes, "float64"))) if heard is None else heard


@contextmanager
def joined(here: Place) -> Iterator[Team]:
    """Train together with the other processes while the block runs: gradients are averaged.

    Raises:
        FileError: the others cannot be reached.
    """
    if here.size == 1:
        yield Team()
        return
    with require_engine().team(here) as team:
        yield team


def check_data_parallel() -> None:
    """Refuse another engine than JAX, which is not imported for it.

    Raises:
        UsageError: as said.
    """
    if engine() != "jax":
        remedies = {"torch": "start the command with torchrun", "tensorflow": "leave it out"}
        raise UsageError(
            f"data_parallel: must be on JAX, found {engine()}; {remedies[engine()]}, or set "
            "KERAS_BACKEND=jax"
        )


@contextmanager
def data_parallel(batch_size: int | None = None) -> Iterator[None]:
    """Let language models that are made and trained in the block use all devices of JAX.

    Each device takes its share of the rows of every batch, and JAX averages the gradients.

    Args:
        batch_size: where it is known, refused if the devices cannot share it equally.

    Raises:
        UsageError: another engine, only one device, or rows that cannot be shared.

    Example:
        >>> with data_parallel():  # doctest: +SKIP
        ...     model = kseq.LanguageModel(corpus.vocab)
        ...     kseq.train(model, kseq.SequentialBatches(corpus))
    """
    check_data_parallel()
    require_engine()
    with import_module("kseq.backend.jax_devices").over_devices(batch_size):
        yield
