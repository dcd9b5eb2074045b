"""One training in several processes: each reads its rows of a batch, and figures are added up.

With P processes, process r of them reads rows r B / P to (r + 1) B / P of every batch (B, T), so
that row b still continues row b and the mean of their gradients is the gradient of the batch.
"""

from __future__ import annotations

from typing import Any, Self

import keras
import numpy as np

from kseq.backend.processes import Place, Team
from kseq.errors import UsageError
from kseq.nn.batches import EpochBatches
from kseq.nn.metrics import TokenTotals
from kseq.nn.optimizers import GuardedOptimizer, inside

# Far enough apart that the draws of no two processes meet, PyTorch's seeds being counted on.
_SEEDS_APART = 100_000_007


class RowsOfBatches(EpochBatches):
    """The rows of every batch that one process reads.

    is_spare: whether there are fewer rows than processes and this one's are another's; what comes
        of them is not to be counted.
    """

    def __init__(self, batches: Any, place: Place) -> None:
        super().__init__(workers=1)
        self.batches, self.place = batches, place
        share = np.array_split(np.arange(batches.batch_size), place.size)[place.rank]
        self.is_spare = not len(share)
        self.rows = slice(0, 1) if self.is_spare else slice(int(share[0]), int(share[-1]) + 1)
        self.batch_size = self.rows.stop - self.rows.start
        self.carries_state, self.epoch = batches.carries_state, batches.epoch
        self.base_steps = batches.base_steps
        self.ids, self.corpus = batches.ids, batches.corpus

    def __len__(self) -> int:
        return len(self.batches)

    def batch(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        inputs, targets = self.batches.batch(index)
        return inputs[self.rows], targets[self.rows]

    def set_epoch(self, epoch: int) -> None:
        self.batches.set_epoch(epoch)
        self.epoch = self.batches.epoch

    def from_first_token(self) -> Self:
        return type(self)(self.batches.from_first_token(), self.place)


class AddUp(keras.callbacks.Callback):
    """Adds the figures of all processes up, after the last batch of an epoch or an evaluation.

    done: batches of the first epoch that were done before a resume.
    """

    reads_logs = False

    def __init__(self, team: Team, training: Any, validation: Any, done: int = 0) -> None:
        super().__init__()
        self.team, self.training, self.validation = team, training, validation
        self.steps = len(training) - done or len(training)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch + 1 == self.steps:
            self._add_up(self.training)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch + 1 == len(self.validation):
            self._add_up(self.validation)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.steps = len(self.training)

    def _add_up(self, batches: Any) -> None:
        figures = figures_of(self.model, self.team, spare=getattr(batches, "is_spare", False))
        for variable, value in zip(self.model.metrics_variables, figures, strict=True):
            variable.assign(value)


def figures_of(model: Any, team: Team, spare: bool = False) -> list[np.ndarray]:
    """Return what the metrics' variables would hold had one process seen all rows.

    spare: this process's own figures do not count.
    """
    variables = model.metrics_variables
    mine = [keras.ops.convert_to_numpy(variable.value) for variable in variables]
    flat = np.concatenate([np.ravel(array).astype("float64") for array in mine])
    total = team.total(np.zeros_like(flat) if spare else flat)
    sums = np.split(total, np.cumsum([array.size for array in mine])[:-1])
    places = {id(variable): index for index, variable in enumerate(variables)}
    for high, low in _pairs(model):
        both = sums[places[id(high)]] + sums[places[id(low)]]
        sums[places[id(high)]] = both.astype("float32")
        sums[places[id(low)]] = both - both.astype("float32")
    both_of = zip(sums, mine, strict=True)
    return [np.asarray(value, array.dtype).reshape(array.shape) for value, array in both_of]


def _pairs(model: Any) -> list[Any]:
    """Return the variables (high, low) of totals that two numbers hold."""
    every = [part for metric in model.metrics for part in getattr(metric, "metrics", [metric])]
    totals = [metric for metric in every if isinstance(metric, TokenTotals)]
    return [pair for metric in totals for pair in metric.pairs]


def check_shareable(model: Any) -> None:
    """Refuse what several processes would not train alike.

    Raises:
        UsageError: an optimizer whose gradients are not averaged.
    """
    if inside(model.optimizer) is not model.optimizer:
        raise UsageError(
            "dtype: must not scale the loss in several processes, found "
            f"{model.dtype_policy.name}; choose mixed_bfloat16 or float32"
        )
    if not isinstance(model.optimizer, GuardedOptimizer):
        raise UsageError(
            "optimizer: must be one of kseq.clipped_optimizer to train in several processes, "
            f"found {type(model.optimizer).__name__}; choose one, or train in one process"
        )


def set_apart(model: Any, rank: int) -> None:
    """Let the dropout of each process draw numbers of its own; those of the first stay."""
    for variable in model.non_trainable_variables if rank else ():
        if variable.path.endswith("seed_generator_state"):
            seed, drawn = (int(n) for n in keras.ops.convert_to_numpy(variable.value))
            variable.assign(np.array([(seed + rank * _SEEDS_APART) % 2**31, drawn]))
