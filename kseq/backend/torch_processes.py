"""Several processes on PyTorch: gloo between CPUs, NCCL between GPUs.

Gradients are averaged in buckets, each one all-reduce, and the wishes of the processes (to stop,
to save) ride in the last of them, so that a step costs no message more.
"""

from __future__ import annotations

import atexit
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import wraps
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from kseq.backend.processes import Place, Team
from kseq.errors import FileError, UsageError

BUCKET = 25 * 2**20  # bytes, as PyTorch's DistributedDataParallel takes
LONGEST_SILENCE = timedelta(minutes=10)  # of a process that may be saving, or be gone

_IDENTITY = 36  # bytes of a GPU's UUID

# Where in gloo's own files a message comes from.
_SOURCE = re.compile(r"\[[^\]]*\.cc:\d+\]\s*")

_active: TorchTeam | None = None


def averaged(grads: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Return the means of gradients over the processes that train together, if there are any."""
    return list(grads) if _active is None else _active.averaged(grads)


def take_device(here: Place) -> None:
    """Make the GPU of this process's number its own, before anything is put on one.

    A launcher may show each process one GPU alone; that no two have the same is for
    `Team.check_devices` to say, which knows what is put there.
    """
    if here.size > 1 and torch.cuda.is_available():
        torch.cuda.set_device(here.local_rank % torch.cuda.device_count())


@contextmanager
def team(here: Place) -> Iterator[Team]:
    """Average gradients with the other processes while the block runs."""
    global _active
    _active = TorchTeam(here)
    try:
        yield _active
    finally:
        _active = None


def _together(method: Callable[..., Any]) -> Callable[..., Any]:
    """Say of a message that fails what it means: another process is gone."""

    @wraps(method)
    def told(self: TorchTeam, *args: Any) -> Any:
        try:
            return method(self, *args)
        except torch.OutOfMemoryError:
            raise
        # PyTorch raises RuntimeError and what derives from it, whatever the transport.
        except (RuntimeError, ValueError) as error:
            raise _lost(self.place, error) from error

    return told


class TorchTeam(Team):
    """The processes of `torch.distributed`."""

    def __init__(self, here: Place) -> None:
        super().__init__(here)
        self._meet()

    @_together
    def _meet(self) -> None:
        if dist.is_initialized():
            return
        ways = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(ways, timeout=LONGEST_SILENCE)
        atexit.register(_part)

    def check_devices(self, variables: Sequence[Any]) -> None:
        """Refuse a GPU that another process has too.

        Raises:
            UsageError: as said, in every process.
        """
        gpus = {variable.value.device for variable in variables if variable.value.is_cuda}
        own = next(iter(gpus), None)
        told = self.stacked(_as_row("" if own is None else _identity(own)))
        for one in told[told.any(axis=1)]:
            sharers = np.flatnonzero((told == one).all(axis=1))
            if len(sharers) > 1:
                raise _one_gpu_for(sharers)

    @_together
    def averaged(self, grads: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Return the means of the gradients over all processes; hear what they wish for."""
        means: list[Tensor | None] = list(grads)
        buckets = _buckets(grads)
        for number, bucket in enumerate(buckets):
            parts = [grads[index].reshape(-1) for index in bucket]  # type: ignore[union-attr]
            is_last = number + 1 == len(buckets)
            if is_last:
                parts.append(parts[0].new_tensor(self.wishes))
            flat = torch.cat(parts)
            dist.all_reduce(flat)
            self._share_out(flat, bucket, means)
            if is_last:
                self.heard = flat[len(flat) - len(self.wishes) :].tolist()
        return means

    def _share_out(self, flat: Tensor, bucket: Sequence[int], means: list[Tensor | None]) -> None:
        start = 0
        for index in bucket:
            like = means[index]
            assert like is not None
            stop = start + like.numel()
            means[index] = flat[start:stop].div_(self.place.size).view(like.shape)
            start = stop

    @_together
    def total(self, values: np.ndarray) -> np.ndarray:
        """Return the sums over all processes, float64."""
        tensor = torch.from_numpy(np.array(values, "float64"))
        dist.all_reduce(tensor)
        return tensor.numpy()

    @_together
    def stacked(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows of all processes as one array."""
        mine = torch.from_numpy(np.ascontiguousarray(rows))
        found = [torch.empty_like(mine) for _ in range(self.place.size)]
        dist.all_gather(found, mine)
        return np.concatenate([each.numpy() for each in found])

    @_together
    def told(self, content: bytes | None) -> bytes | None:
        """Return what the leading process passes."""
        size = torch.tensor([-1 if content is None else len(content)])
        dist.broadcast(size, 0)
        if int(size) < 0:
            return None
        data = torch.empty(int(size), dtype=torch.uint8)
        if content is not None:
            data.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        dist.broadcast(data, 0)
        return data.numpy().tobytes()

    @_together
    def level(self, variables: Sequence[Any]) -> None:
        """Give the variables the values they have in the leading process."""
        for variable in variables:
            dist.broadcast(variable.value.data, 0)


def _buckets(grads: Sequence[Tensor | None]) -> list[list[int]]:
    """Return the places of the gradients that travel together: of one dtype, up to a size."""
    buckets: list[list[int]] = []
    room, dtype = 0, None
    for index, grad in enumerate(grads):
        if grad is None:
            continue
        size = grad.numel() * grad.element_size()
        if grad.dtype != dtype or size > room:
            buckets.append([])
            room, dtype = BUCKET, grad.dtype
        buckets[-1].append(index)
        room -= size
    return buckets


def _identity(gpu: torch.device) -> str:
    """Return the name a GPU has on every machine and in every process."""
    return str(torch.cuda.get_device_properties(gpu).uuid)


def _as_row(text: str) -> np.ndarray:
    content = bytearray(text.encode()[:_IDENTITY].ljust(_IDENTITY, b"\0"))
    return np.frombuffer(content, "uint8")[None]


def _one_gpu_for(ranks: np.ndarray) -> UsageError:
    return UsageError(
        f"processes: must have a GPU each, found {', '.join(map(str, ranks))} on the same one; "
        "start no more on a machine than it has GPUs and name no number in --device, or train "
        "on the CPU"
    )


def _part() -> None:
    # The others may have left already.
    with suppress(Exception):
        dist.destroy_process_group()


def _lost(here: Place, error: Exception) -> FileError:
    cause = _SOURCE.sub("", (str(error).strip().splitlines() or ["no word"])[0])[:120]
    return FileError(
        f"process {here.rank} of {here.size}: must hear from all others until the end, found one "
        f"silent or gone ({cause}); see what that one said, and start all again with --resume"
    )
