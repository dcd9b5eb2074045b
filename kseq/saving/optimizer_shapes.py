"""Which arrays the state of an optimizer is, by its configuration and the trainable weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Shape = tuple[int, ...]

# How many arrays of a weight's own shape each class keeps beside it; the others are bounded only.
_SLOTS = {
    "adadelta": 2,
    "adagrad": 1,
    "adam": 2,
    "adamax": 2,
    "adamw": 2,
    "asgd": 0,
    "ftrl": 2,
    "lamb": 2,
    "lion": 1,
    "nadam": 2,
    "rmsprop": 1,
    "sgd": 0,
}
# What a setting adds to them, where it is not zero, empty or false.
_MORE_SLOTS = {
    "adam": ("amsgrad",),
    "adamw": ("amsgrad",),
    "asgd": ("momentum",),
    "rmsprop": ("momentum", "centered"),
    "sgd": ("momentum",),
}
_MOST_SLOTS = 6
_MOST_SCALARS = 16


def check_state(state: dict[int, Shape], optimizer: Any, weights: Sequence[Shape]) -> str | None:
    """Return what is wrong with the shapes of an optimizer's state, or None.

    Args:
        state: the shape of each array, by its number.
        optimizer: its class and settings, as a file has them.
        weights: the shapes of the trainable weights, in Keras's order.
    """
    if sorted(state) != list(range(len(state))):
        return "an array of the optimizer is missing"
    found = [state[index] for index in range(len(state))]
    told = state_shapes(optimizer, weights)
    if told is None:
        return _out_of_bounds(found, weights)
    if len(found) != len(told):
        return f"the optimizer must have {len(told)} arrays, not {len(found)}"
    for index, (one, other) in enumerate(zip(found, told, strict=True)):
        if one != other:
            return f"optimizer/vars/{index} must be {other}, not {one}"
    return None


def state_shapes(optimizer: Any, weights: Sequence[Shape]) -> list[Shape] | None:
    """Return the shapes of an optimizer's state in order, or None where they are not known.

    Example:
        >>> state_shapes("sgd", [(2, 3)])
        [(), ()]
        >>> state_shapes({"class_name": "Adam", "config": {"learning_rate": 0.1}}, [(3,)])
        [(), (), (3,), (3,)]
    """
    if isinstance(optimizer, str):
        optimizer = {"class_name": optimizer, "config": {}}
    name, config = optimizer["class_name"], optimizer["config"]
    kind = name.removeprefix("Clipped").lower()
    if kind not in _SLOTS:
        return None
    shapes: list[Shape] = [()] if isinstance(config.get("learning_rate"), dict) else [(), ()]
    for option in ("use_ema", "gradient_accumulation_steps"):
        shapes += weights if config.get(option) else []
    shapes += [shape for shape in weights for _ in range(_SLOTS[kind])]
    for option in _MORE_SLOTS.get(kind, ()):
        shapes += weights if config.get(option) else []
    # The count of skipped steps, and Nadam's product.
    shapes += [()] if name.startswith("Clipped") or kind == "nadam" else []
    # The means, how many steps are in them, and where they are.
    return [*shapes, *weights, (), ()] if kind == "asgd" else shapes


def _out_of_bounds(found: list[Shape], weights: Sequence[Shape]) -> str | None:
    known = {(), *weights, *(shape[:-1] for shape in weights), *(shape[-1:] for shape in weights)}
    strange = next((shape for shape in found if shape not in known), None)
    if strange is not None:
        return f"the optimizer has an array of shape {strange}"
    if len(found) > _MOST_SLOTS * len(weights) + _MOST_SCALARS:
        return "the optimizer has too many arrays"
    return None
