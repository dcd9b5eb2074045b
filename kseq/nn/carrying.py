"""Carrying a recurrent state from batch to batch inside `fit` and `evaluate`.

The state lives in variables the trainer tracks, one set for training and one for evaluation, so
that validation never disturbs training.  They belong to a running `fit` or `evaluate`: they have
its batch size, start at zero with each epoch, and are no part of the saved model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from kseq.backend import require_engine
from kseq.nn.batches import EpochBatches
from kseq.nn.listening import listeners
from kseq.nn.pacing import PacesSteps
from kseq.nn.stepping import PlannedStep, planned_step, steps_are_planned


class CarriedState:
    """A state in variables: for each layer a list of (B, H), read as copies without gradient."""

    def __init__(self, widths: list[list[int]], batch_size: int, dtype: str) -> None:
        self.batch_size = batch_size
        self.dtype = dtype
        self.layers = [[self._zeros(width) for width in layer] for layer in widths]

    @property
    def variables(self) -> list[keras.Variable]:
        return [variable for layer in self.layers for variable in layer]

    def read(self) -> list[list[Any]]:
        """Return the state as tensors; a copy, for the variables are overwritten in the step."""
        return [[ops.copy(ops.stop_gradient(v.value)) for v in layer] for layer in self.layers]

    def tensors(self) -> list[list[Any]]:
        """Return the variables' own tensors, for a step that overwrites them when it is done."""
        return [[v.value for v in layer] for layer in self.layers]

    def sized(self, ids: Any) -> Any:
        """Return ids (B, T) whose shape says B.

        In `fit` TensorFlow leaves it open, and its loop refuses a state of one row for it.
        """
        return ops.reshape(ids, (self.batch_size, *ops.shape(ids)[1:]))

    def write(self, state: Any) -> None:
        """Keep `state` for the next batch, cut off from the graph that made it."""
        for layer, new in zip(self.layers, state, strict=True):
            for variable, tensor in zip(layer, new, strict=True):
                variable.assign(ops.cast(ops.stop_gradient(tensor), variable.dtype))

    def reset(self) -> None:
        """Set the state to zero."""
        for variable in self.variables:
            # A NumPy array: inside `fit` on JAX the variable holds no tensor to be shaped like.
            variable.assign(np.zeros(variable.shape, "float32"))

    def _zeros(self, width: int) -> keras.Variable:
        shape = (self.batch_size, width)
        return keras.Variable(
            np.zeros(shape, "float32"),
            dtype=self.dtype,
            trainable=False,
            autocast=False,
            name="carried_state",
        )


class CarryDuringFit(keras.callbacks.Callback):
    """Switch carrying on when the training or the evaluation proper begins, and reset it.

    Keras tries the model on a symbolic batch before; that must not touch the state.
    """

    def __init__(self, carry: Carry, batches: Any = None, counts_from_0: bool = False) -> None:
        super().__init__()
        self.carry = carry
        self.batches = batches if _is_ours(batches) else None
        self.first_epoch = 0 if counts_from_0 or self.batches is None else self.batches.epoch

    def on_train_begin(self, logs: Any = None) -> None:
        self.carry.active.add("training")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.carry.reset("training")
        if self.batches is not None:
            self.batches.set_epoch(self.first_epoch + epoch)

    def on_test_begin(self, logs: Any = None) -> None:
        self.carry.active.add("evaluation")
        self.carry.reset("evaluation")

    def on_test_end(self, logs: Any = None) -> None:
        self.carry.active.discard("evaluation")


class Carry:
    """The carried states of one `fit` or `evaluate`: which exist, and which are in use right now.

    batch_sizes: of each use, "training" or "evaluation", that carries; its state starts at zero.
    """

    def __init__(self, batch_sizes: Mapping[str, int], widths: list[list[int]], dtype: str) -> None:
        self.states = {use: CarriedState(widths, B, dtype) for use, B in batch_sizes.items()}
        self.active: set[str] = set()

    @property
    def variables(self) -> list[keras.Variable]:
        return [v for state in self.states.values() for v in state.variables]

    def current(self, training: bool) -> CarriedState | None:
        """Return the state to use in this call, or None when nothing is being carried."""
        use = "training" if training else "evaluation"
        return self.states.get(use) if use in self.active else None

    def reset(self, use: str) -> None:
        if use in self.states:
            self.states[use].reset()


class CarriesState(PacesSteps):
    """Mixed into a Keras model: `fit` and `evaluate` that carry the state of its layers.

    The model reads and writes `self._carry.current(training)` in its `call`, and says how wide
    its states are.
    """

    _carry: Carry
    compute_dtype: str
    train_function: Any
    test_function: Any

    def state_widths(self) -> list[list[int]]:
        """Return, for each recurrent layer, the width of each of its states."""
        raise NotImplementedError

    def before_fit(self, batches: Any, validation: Any) -> list[keras.callbacks.Callback]:
        """Check what is to be learnt; return callbacks for this `fit`."""
        raise NotImplementedError

    def before_evaluate(self, batches: Any) -> None:
        """Check what is to be judged."""
        raise NotImplementedError

    def start_carrying(self) -> None:
        """Carry nothing yet; called once, by the constructor."""
        self._carry = Carry({}, [], "float32")

    def carried(self, training: bool) -> CarriedState | None:
        """Return the state that training or evaluation is carrying just now, or None."""
        return self._carry.current(training)

    def carried_variables(self, use: str | None = None) -> list[keras.Variable]:
        """Return the variables of the state being carried in training, evaluation, or both."""
        if use is None:
            return self._carry.variables
        return self._carry.states[use].variables if use in self._carry.states else []

    def make_train_function(self, force: bool = False) -> Any:
        """As Keras's; where the step can be planned (`kseq.nn.stepping`) it is, anew each time."""
        planned = planned_step(self, training=True)
        if planned is None:
            force = force or isinstance(self.train_function, PlannedStep)
            return super().make_train_function(force)  # type: ignore[misc]
        self.train_function = planned
        return planned

    def make_test_function(self, force: bool = False) -> Any:
        """As `make_train_function`, for a step of evaluation."""
        planned = planned_step(self, training=False)
        if planned is None:
            force = force or isinstance(self.test_function, PlannedStep)
            return super().make_test_function(force)  # type: ignore[misc]
        self.test_function = planned
        return planned

    @property
    def variables(self) -> list[Any]:
        """The model's variables, and while it runs the state it carries."""
        return [*super().variables, *self._carry.variables]  # type: ignore[misc]

    def fit(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        """As Keras's; carries the state for `SequentialBatches`, and never reorders batches.

        A fit goes on from the epoch the batches are at, or from `initial_epoch` if that is given;
        validation always reads its batches from their first token, in the order of the text.

        Raises:
            DataError: the batches hold a token id outside the vocabulary.
        """
        validation = _as_evaluation(kwargs.pop("validation_data", None))
        if not (_is_ours(x) or _is_ours(validation)):
            return super().fit(x, y, validation_data=validation, **kwargs)  # type: ignore[misc]
        added = self.before_fit(x, validation)
        if _is_ours(x):
            kwargs["shuffle"] = False
        with self._carrying(training=x, evaluation=validation), self.paced_by(x):
            kwargs["callbacks"] = [
                CarryDuringFit(self._carry, x, bool(kwargs.get("initial_epoch"))),
                *added,
                *as_list(kwargs.get("callbacks")),
            ]
            kwargs["callbacks"] = self._heard(x, kwargs, add_history=True)
            x, validation = _fed(x, kwargs.get("class_weight")), _fed(validation)
            return super().fit(x, y, validation_data=validation, **kwargs)  # type: ignore[misc]

    def evaluate(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        """As Keras's; reads `SequentialBatches`, for which the state is carried, and
        `RandomBatches` from their first token, in the order of the text.
        """
        if kwargs.get("_use_cached_eval_dataset") or not _is_ours(x):
            return super().evaluate(x, y, **kwargs)  # type: ignore[misc]
        x = x.from_first_token()
        self.before_evaluate(x)
        with self._carrying(evaluation=x):
            kwargs["callbacks"] = [
                CarryDuringFit(self._carry),
                *as_list(kwargs.get("callbacks")),
            ]
            kwargs["callbacks"] = self._heard(x, kwargs)
            return super().evaluate(_fed(x), y, **kwargs)  # type: ignore[misc]

    def _heard(self, batches: Any, options: dict[str, Any], add_history: bool = False) -> Any:
        """Return the callbacks as a list that calls those who listen, where that is Keras's."""
        limits = keras.config.max_epochs(), keras.config.max_steps_per_epoch()
        plain = _is_ours(batches) and limits == (None, None) and steps_are_planned()
        given = options["callbacks"]
        if not plain or any(isinstance(c, keras.callbacks.CallbackList) for c in given):
            return given
        steps = options.get("steps_per_epoch") or options.get("steps") or len(batches)
        epochs, verbose = options.get("epochs", 1), options.get("verbose", "auto")
        return listeners(
            given, self, steps, epochs=epochs, verbose=verbose, add_history=add_history
        )

    @contextmanager
    def _carrying(self, **batches: Any) -> Iterator[None]:
        """Carry a state for each use whose batches are sequential, while the block runs.

        What was carried before goes on after it: a callback of `fit` may call `evaluate`.
        """
        sizes = {
            use: source.batch_size
            for use, source in batches.items()
            if getattr(source, "carries_state", False)
        }
        if not sizes and not self._carry.states:
            yield
            return
        before = self._carry, self.train_function, self.test_function
        self._carry = Carry(sizes, self.state_widths(), self.compute_dtype)
        # A compiled step remembers the variables it was traced with.
        self.train_function = self.test_function = None
        try:
            yield
        finally:
            self._carry, self.train_function, self.test_function = before


def _is_ours(batches: Any) -> bool:
    return isinstance(batches, EpochBatches)


def _fed(batches: Any, class_weight: Any = None) -> Any:
    """Return what Keras is to read batches of ours from; weights of classes are its own to add."""
    if not _is_ours(batches) or class_weight is not None:
        return batches
    if steps_are_planned():
        return require_engine().steps().feed(batches)
    return require_engine().feed_lengths(batches) if batches.base_steps else batches


def _as_evaluation(batches: Any) -> Any:
    return batches.from_first_token() if _is_ours(batches) else batches


def as_list(callbacks: Any) -> list[Any]:
    """Return the callbacks a caller gave to `fit`: none, one or several."""
    given = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
    return [callback for callback in given if callback is not None]
