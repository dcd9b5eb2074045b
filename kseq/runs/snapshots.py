"""The state of a training between two steps, taken from a model and put back into one.

Everything the next step depends on: weights, dropout's random streams, the optimizer with its
schedule's step, running metrics, the carried state, the generators of Python, NumPy and the
engine, and where the data stand.

On every engine the variables have the same order and shapes, so a state of one can be put back on
another; their integers differ in width, and the engine's own generators stay behind.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count, takewhile
from typing import Any

import keras
import numpy as np

from kseq.backend import engine, require_engine
from kseq.errors import FileError, NumericalError
from kseq.nn.provenance import Provenance
from kseq.runs.checkpoints import Checkpoint
from kseq.runs.records import Record, Run
from kseq.version import __version__


@dataclass
class Cursor:
    """Where a training stands.

    epoch: the epoch underway, from 0.  batch: its batches that are done.  seconds: spent on them.
    logs: the training figures of an epoch whose batches are all done, and which is not judged yet.
    """

    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    logs: dict[str, float] = field(default_factory=dict)


class ModelState:
    """The variables of a compiled model that a checkpoint holds, by kind.

    model: as a callback sees it, its variables in step.
    """

    def __init__(self, model: Any) -> None:
        carried = model.carried_variables("training")
        skipped = {id(variable) for variable in model.carried_variables()}
        self.kinds: dict[str, Sequence[Any]] = {
            "model": [v for v in model.variables if id(v) not in skipped],
            "optimizer": model.optimizer.variables,
            "metrics": model.metrics_variables,
            "carried": carried,
        }

    def read(self) -> dict[str, np.ndarray]:
        """Return every variable as an array, by kind and number."""
        return {
            f"{kind}/{number}": as_array(variable)
            for kind, variables in self.kinds.items()
            for number, variable in enumerate(variables)
        }

    def write(self, arrays: Mapping[str, np.ndarray], *kinds: str) -> None:
        """Assign the arrays of some kinds.

        Raises:
            FileError: the arrays are not those of this model.
        """
        for kind in kinds:
            found = numbered(arrays, kind)
            _check_fit(kind, found, self.kinds[kind])
            for variable, array in zip(self.kinds[kind], found, strict=True):
                variable.assign(array)


def taken(
    model: Any, cursor: Cursor, run: Run, best: Sequence[np.ndarray] | None, batches: int
) -> Checkpoint:
    """Return the state of a training.

    best: the weights of the best epoch so far.  batches: those of an epoch.

    Raises:
        NumericalError: a weight is not finite; such a state is no place to go on from.
    """
    arrays = ModelState(model).read()
    _check_finite(arrays, cursor)
    arrays |= {f"best/{number}": array for number, array in enumerate(best or ())}
    facts, streams = _random_state()
    facts |= {
        "cursor": asdict(cursor),
        "records": run.records,
        "provenance": model.provenance.to_dict(),
        "engine": engine(),
        "keras": keras.__version__,
        "kseq": __version__,
    }
    position = cursor.epoch * (batches + 1) + cursor.batch
    return Checkpoint(position, facts, arrays | streams)


def put_back(checkpoint: Checkpoint, model: Any) -> tuple[Cursor, list[Record]]:
    """Give `model` the state of a checkpoint; return where it stands, and the records so far.

    What exists only while `fit` runs, metrics and carried state, is left to `resume_epoch`.

    Raises:
        FileError: the checkpoint is not of such a model.
    """
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    ModelState(model).write(checkpoint.arrays, "model", "optimizer")
    try:
        cursor = Cursor(**checkpoint.facts["cursor"])
        records = list(checkpoint.facts["records"])
        model.provenance = Provenance(checkpoint.facts["provenance"])
    except (KeyError, TypeError) as error:
        raise _unfit("facts", "none a training could go on from") from error
    _put_back_random_state(checkpoint)
    return cursor, records


def resume_epoch(checkpoint: Checkpoint, model: Any) -> None:
    """Give the metrics and the carried state of a running `fit` what they had."""
    ModelState(model).write(checkpoint.arrays, "metrics", "carried")


def best_weights(checkpoint: Checkpoint) -> list[np.ndarray] | None:
    """Return the weights of the best epoch so far, if there was one."""
    return numbered(checkpoint.arrays, "best") or None


def numbered(arrays: Mapping[str, np.ndarray], kind: str) -> list[np.ndarray]:
    """Return the arrays of a kind in their order."""
    names = (f"{kind}/{number}" for number in count())
    return [arrays[name] for name in takewhile(arrays.__contains__, names)]


def as_array(variable: Any) -> np.ndarray:
    """Return a variable as an array NumPy can write; bfloat16 fits into float32 exactly."""
    array = np.asarray(keras.ops.convert_to_numpy(variable.value))
    return array.astype("float32") if array.dtype.name == "bfloat16" else array


def _check_fit(kind: str, arrays: Sequence[np.ndarray], variables: Sequence[Any]) -> None:
    found = [array.shape for array in arrays]
    expected = [tuple(variable.shape) for variable in variables]
    if found != expected:
        raise _unfit(kind, f"arrays of {len(found)} shapes where the model has {len(expected)}")


def _unfit(kind: str, found: str) -> FileError:
    return FileError(
        f"checkpoint: must hold the {kind} of this model, found {found}; begin a new run"
    )


def _check_finite(arrays: Mapping[str, np.ndarray], cursor: Cursor) -> None:
    for name, array in arrays.items():
        if name.startswith("model/") and not _is_finite(array):
            raise NumericalError(
                f"weights: must stay finite, found NaN or infinity by step {cursor.batch} of epoch "
                f"{cursor.epoch + 1}; lower the learning rate, or clip (kseq.clipped_optimizer)"
            )


def _is_finite(array: np.ndarray) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _random_state() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the state of the generators of Python, NumPy and the engine: facts and arrays."""
    kind, *numbers = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - whoever uses it, goes on with it
    facts = {"random": {"python": [kind, *numbers], "numpy": [name, *rest]}}
    streams = {f"engine {part}": state for part, state in require_engine().random_state().items()}
    return facts, {"numpy keys": np.asarray(keys), **streams}


def _put_back_random_state(checkpoint: Checkpoint) -> None:
    try:
        kind, numbers, gauss = checkpoint.facts["random"]["python"]
        random.setstate((kind, tuple(numbers), gauss))
        name, *rest = checkpoint.facts["random"]["numpy"]
        np.random.set_state((name, checkpoint.arrays["numpy keys"], *rest))  # noqa: NPY002
    except (KeyError, TypeError, ValueError) as error:
        raise _unfit("random streams", "others") from error
    if checkpoint.facts.get("engine") == engine():
        prefix = "engine "
        streams = {n: a for n, a in checkpoint.arrays.items() if n.startswith(prefix)}
        require_engine().set_random_state({n.removeprefix(prefix): a for n, a in streams.items()})
