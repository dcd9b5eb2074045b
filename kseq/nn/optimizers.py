"""Optimizers that clip gradients and never let a non-finite one reach the weights.

Two meanings of clipping, both bounded by c:

    global_clipnorm   one norm over all gradients together, n = sqrt(sum |g|^2); when n > c every
                      gradient is scaled by c / n.  The direction of the step is kept.  This is
                      what Pascanu et al. (arXiv:1211.5063) and d2l's `grad_clipping` do, and the
                      default here.
    clipnorm          each variable's gradient is clipped by its own norm, which changes the
                      direction of the step.

With a NaN or infinite gradient the whole step is skipped, weights and optimizer state stay as
they were, and `optimizer.skipped_steps` counts it.  With the dtype policy "mixed_float16" Keras
puts a `LossScaleOptimizer` around the optimizer, without which small gradients are lost; that
skips such steps itself, and halves its scale.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

import kseq.nn.schedules  # noqa: F401  an optimizer in a file may name a schedule
from kseq.checks import one_of, positive_float, positive_int
from kseq.errors import UsageError
from kseq.nn.guarding import GuardedOptimizer, counter

OPTIMIZERS = ("sgd", "asgd", "adam", "adamw", "rmsprop")
NEVER = 1e30  # a bound that no gradient reaches before float32 ends; infinite ones are skipped
NONMONOTONE = 5  # epochs, as Merity, Keskar and Socher (arXiv:1708.02182) have it
DEFAULT_LEARNING_RATES = {"sgd": 1.0, "asgd": 1.0, "adam": 2e-3, "adamw": 2e-3, "rmsprop": 2e-3}


def clipped_optimizer(
    name: str = "adam",
    learning_rate: Any = None,
    global_clipnorm: float | None = None,
    clipnorm: float | None = None,
    **options: Any,
) -> keras.optimizers.Optimizer:
    """Return a Keras optimizer that clips, by the global norm at 1 unless told otherwise.

    Args:
        name: "sgd", "asgd" (averaged, see `ClippedASGD`), "adam", "adamw" or "rmsprop".
        learning_rate: a positive number or a Keras schedule; by default 1 for sgd and asgd, 0.002
            for the others, which suit clipped recurrent language models.
        global_clipnorm: bound on the norm over all gradients together.
        clipnorm: bound on the norm of each variable's gradient; not both.
        options: further arguments of the Keras optimizer, such as `momentum`; for asgd also
            `nonmonotone`.

    Raises:
        UsageError: an unknown name, a rate or bound that is not a positive finite number, or
            both kinds of clipping.

    Example:
        >>> clipped_optimizer("sgd", learning_rate=2.0).global_clipnorm
        1.0
    """
    name = one_of("optimizer", name, OPTIMIZERS)
    if options.get("clipvalue") is not None:
        raise UsageError(
            "clipping: must be by a norm, found clipvalue, which clips each number by itself; "
            "choose global_clipnorm or clipnorm"
        )
    bound = _clipping(global_clipnorm, clipnorm)
    rate = DEFAULT_LEARNING_RATES[name] if learning_rate is None else learning_rate
    if not callable(rate):
        rate = positive_float("learning_rate", rate)
    return _CLASSES[name](learning_rate=rate, **bound, **options)


def _clipping(global_clipnorm: float | None, clipnorm: float | None) -> dict[str, float]:
    if clipnorm is not None and global_clipnorm is not None:
        raise UsageError(
            "clipping: must be by the global norm or by each variable's, found both "
            f"(global_clipnorm={global_clipnorm}, clipnorm={clipnorm}); leave one out"
        )
    if clipnorm is not None:
        return {"clipnorm": positive_float("clipnorm", clipnorm)}
    bound = 1.0 if global_clipnorm is None else global_clipnorm
    return {"global_clipnorm": positive_float("global_clipnorm", bound)}


def with_public_optimizer(compile_config: dict[str, Any]) -> dict[str, Any]:
    """Return Keras's compile configuration with torch's hidden optimizer classes renamed.

    Keras 3.15 writes an optimizer compiled on torch as `keras.src.backend.torch.optimizers...`,
    which no other engine can load; the public class of the same name is what it stands for.
    """
    optimizer = compile_config.get("optimizer")
    if isinstance(optimizer, dict) and "backend.torch" in str(optimizer.get("module")):
        public = {**optimizer, "module": "keras.optimizers", "registered_name": None}
        return {**compile_config, "optimizer": public}
    return compile_config


def inside(optimizer: Any) -> Any:
    """Return the optimizer inside Keras's `LossScaleOptimizer`, or the optimizer itself."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def check_scales(optimizer: Any) -> None:
    """Refuse an optimizer whose learning rate cannot be scaled for a single step.

    Raises:
        UsageError: it is not one of `clipped_optimizer`.
    """
    if not isinstance(inside(optimizer), GuardedOptimizer):
        raise UsageError(
            "num_steps_spread: the learning rate must follow the steps of each batch, found "
            f"{type(optimizer).__name__}, whose rate cannot; compile with kseq.clipped_optimizer"
        )


def skipped_steps(optimizer: Any) -> int:
    """Return how many steps `optimizer` has skipped for a gradient that was not finite.

    Those that Keras's `LossScaleOptimizer` skips around it are not among them.
    """
    count = getattr(inside(optimizer), "skipped_steps", None)
    return 0 if count is None else int(ops.convert_to_numpy(count.value))


class ReportSkipped(keras.callbacks.Callback):
    """Warn at the end of a `fit` that skipped steps, which the loss alone may not show."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.before = skipped_steps(self.model.optimizer)

    def on_train_end(self, logs: Any = None) -> None:
        skipped = skipped_steps(self.model.optimizer) - self.before
        if skipped:
            warnings.warn(
                f"{skipped} steps were skipped, their gradients were not finite; "
                "lower the learning rate or look for infinite inputs",
                stacklevel=2,
            )


def _engine_class(public: type, **arguments: Any) -> type:
    # On torch Keras makes an instance of a hidden subclass of its public optimizer class.
    return type(public(**arguments))


@keras.saving.register_keras_serializable(package="kseq")
class ClippedSGD(GuardedOptimizer, _engine_class(keras.optimizers.SGD)):  # type: ignore[misc]
    """Stochastic gradient descent, guarded and clipped."""


@keras.saving.register_keras_serializable(package="kseq")
class ClippedASGD(ClippedSGD):
    """Stochastic gradient descent whose weights are averaged once judging shows no more gain.

    Every step is that of `ClippedSGD`; beside it stands the mean of the weights after each step
    since the averaging began.  `kseq.train` begins it after the first epoch whose held-out loss is
    not below the best of all but the `nonmonotone` epochs before it, and from then on judges, keeps
    and saves the mean, while the steps go on from the weights themselves; without held-out text
    it goes by the training loss, which is of the weights themselves.  Patience counts from there
    on.  Elsewhere `start_averaging` begins it, and the mean is in `averages`.

    Source: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992);
    Merity, Keskar and Socher, arXiv:1708.02182, section 3 (NT-ASGD).

    Example:
        >>> ClippedASGD(0.5, nonmonotone=3).get_config()["nonmonotone"]
        3
    """

    def __init__(self, *arguments: Any, nonmonotone: int = NONMONOTONE, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.nonmonotone = positive_int("nonmonotone", nonmonotone)

    def build(self, variables: list[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self.averages = self.add_optimizer_variables(variables, "average")
        # Steps in the mean; -1 before it was begun.
        self.averaged_steps = counter(-1, "averaged_steps")
        # Whether weights and averages have changed places (`kseq.nn.averaging`).
        self.holds_average = counter(0, "holds_average")

    def start_averaging(self) -> None:
        """Let the next step be the first in the mean."""
        self.averaged_steps.assign(0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "nonmonotone": self.nonmonotone}

    def _apply_of(self, grads: Any, trainable_variables: Any) -> Callable[[], None]:
        apply = super()._apply_of(grads, trainable_variables)

        def apply_and_average() -> None:
            apply()
            self._average()

        return apply_and_average

    def _average(self) -> None:
        begun = ops.cast(self.averaged_steps >= 0, "int32")
        self.averaged_steps.assign_add(begun)
        count = ops.maximum(ops.cast(self.averaged_steps, "float32"), 1.0)
        share = ops.cast(begun, "float32") / count
        for weight, average in zip(self._trainable_variables, self.averages, strict=True):
            average.assign_add((weight - average) * ops.cast(share, average.dtype))


@keras.saving.register_keras_serializable(package="kseq")
class ClippedAdam(GuardedOptimizer, _engine_class(keras.optimizers.Adam)):  # type: ignore[misc]
    """Adam (Kingma and Ba, arXiv:1412.6980), guarded and clipped."""


@keras.saving.register_keras_serializable(package="kseq")
class ClippedAdamW(GuardedOptimizer, _engine_class(keras.optimizers.AdamW)):  # type: ignore[misc]
    """AdamW (Loshchilov and Hutter, arXiv:1711.05101), guarded and clipped."""


@keras.saving.register_keras_serializable(package="kseq")
class ClippedRMSprop(GuardedOptimizer, _engine_class(keras.optimizers.RMSprop)):  # type: ignore[misc]
    """RMSprop (Tieleman and Hinton 2012), guarded and clipped."""


_CLASSES = {
    "sgd": ClippedSGD,
    "asgd": ClippedASGD,
    "adam": ClippedAdam,
    "adamw": ClippedAdamW,
    "rmsprop": ClippedRMSprop,
}


def update_kind(optimizer: Any) -> tuple[str | None, bool]:
    """Return which of `OPTIMIZERS` a step is of, or None, and whether the step is guarded.

    A class of a user's own is none of them, even where it derives from one.

    Example:
        >>> update_kind(clipped_optimizer("sgd")), update_kind(keras.optimizers.Lion())
        (('sgd', True), (None, False))
    """
    for kind, clipped in _CLASSES.items():
        if type(optimizer) in (clipped, *clipped.__bases__[1:]):
            return kind, type(optimizer) is clipped
    return None, False
