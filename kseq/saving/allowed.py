"""The parts a compiled model in a file may name: exactly these, and nothing by a name of its own.

An optimizer, a schedule, a loss or a metric is a class of Keras's public modules or of kseq's,
named by module, class and registered name all three; its configuration holds plain values and
further such parts.  What anybody else wrote, a layer that carries code, or a function found by
its name is not among them, so that no file decides what is imported or called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from kseq.checks import shown
from kseq.data.model_files.json_facts import is_number
from kseq.data.model_files.refusing import DamageError, FlawError
from kseq.saving.settings import POLICIES, policy_name, whole, word


def _names(words: str) -> list[str]:
    return words.split()


_KERAS_OPTIMIZERS = _names(
    "Adadelta Adafactor Adagrad Adam AdamW Adamax Ftrl Lamb Lion LossScaleOptimizer Muon Nadam "
    "RMSprop SGD"
)
_KERAS_SCHEDULES = _names(
    "CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay PiecewiseConstantDecay "
    "PolynomialDecay"
)
_KERAS_LOSSES = _names(
    "BinaryCrossentropy BinaryFocalCrossentropy CategoricalCrossentropy "
    "CategoricalFocalCrossentropy CategoricalHinge CosineSimilarity Hinge Huber KLDivergence "
    "LogCosh MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError "
    "MeanSquaredLogarithmicError Poisson SparseCategoricalCrossentropy SquaredHinge"
)
_KERAS_METRICS = _names(
    "Accuracy BinaryAccuracy BinaryCrossentropy CategoricalAccuracy CategoricalCrossentropy "
    "CategoricalHinge CosineSimilarity Hinge KLDivergence LogCoshError Mean MeanAbsoluteError "
    "MeanAbsolutePercentageError MeanSquaredError MeanSquaredLogarithmicError Poisson R2Score "
    "RootMeanSquaredError SparseCategoricalAccuracy SparseCategoricalCrossentropy "
    "SparseTopKCategoricalAccuracy SquaredHinge Sum TopKCategoricalAccuracy"
)
_ABBREVIATIONS = _names("mse mae mape msle bce kld MSE MAE MAPE MSLE BCE KLD")
_METRIC_NAMES = _names("accuracy acc crossentropy ce")
_FUNCTIONS = _names(
    "binary_crossentropy binary_focal_crossentropy categorical_crossentropy "
    "categorical_focal_crossentropy categorical_hinge cosine_similarity hinge huber "
    "kl_divergence log_cosh mean_absolute_error mean_absolute_percentage_error "
    "mean_squared_error mean_squared_logarithmic_error poisson sparse_categorical_crossentropy "
    "squared_hinge"
)
_METRIC_FUNCTIONS = _names(
    "binary_accuracy categorical_accuracy sparse_categorical_accuracy "
    "sparse_top_k_categorical_accuracy top_k_categorical_accuracy"
)

Part = tuple[str, str, str | None]


def _of_keras(module: str, names: Iterable[str]) -> set[Part]:
    return {(module, name, None) for name in names}


def _of_kseq(module: str, *names: str) -> set[Part]:
    return {(module, name, f"kseq>{name}") for name in names}


_OPTIMIZERS = _of_keras("keras.optimizers", _KERAS_OPTIMIZERS) | _of_kseq(
    "kseq.nn.optimizers",
    "ClippedSGD",
    "ClippedASGD",
    "ClippedAdam",
    "ClippedAdamW",
    "ClippedRMSprop",
)
_SCHEDULES = _of_keras("keras.optimizers.schedules", _KERAS_SCHEDULES) | _of_kseq(
    "kseq.nn.schedules", "OneCycle"
)
_LOSSES = _of_keras("keras.losses", _KERAS_LOSSES)
_METRICS = _of_keras("keras.metrics", _KERAS_METRICS) | _of_kseq(
    "kseq.nn.metrics", "Perplexity", "BitsPerToken"
)
_WORDS = {
    "optimizer": {name.lower() for name in _KERAS_OPTIMIZERS},
    "loss": {*_ABBREVIATIONS, *_FUNCTIONS, *_KERAS_LOSSES},
    "metric": {
        *_ABBREVIATIONS,
        *_FUNCTIONS,
        *_METRIC_FUNCTIONS,
        *_METRIC_NAMES,
        *_KERAS_METRICS,
    },
}
_PARTS = {
    "optimizer": _OPTIMIZERS,
    "schedule": _SCHEDULES,
    "loss": _LOSSES,
    "metric": _METRICS,
}
_REST = "load_model(path, compile=False) reads the rest"
_OBJECT = {"module", "class_name", "config", "registered_name"}
# A metric makes tables as large as it is told; this many rows cost nothing.
_MOST_ROWS = 2**16
_LONGEST_LIST = 10_000
_DEEPEST = 8
# Keras searches the paths of the weights for these as regular expressions, which may never end.
_PATTERNS = "exclude_layers"
_MOST_PATTERNS = 100
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_/]{0,100}")


def check_compilation(config: Any) -> dict[str, Any]:
    """Return the part of a configuration that says how a model was compiled, in known words.

    A loss or metric that is one of Keras's functions is given back by its name.

    Raises:
        DamageError: a key or a value that no compiled model has.
        FlawError: a part that neither Keras nor kseq brings.
    """
    if not isinstance(config, dict):
        raise DamageError("it could not be built: it was compiled with nothing that could be read")
    unknown = sorted(config.keys() - _CHECKS.keys())
    if unknown:
        raise DamageError(f"it could not be built: it is compiled with {shown(unknown[0], 40)}")
    return {name: _CHECKS[name](value) for name, value in config.items()}


def _part(kind: str, value: Any, depth: int = 0) -> Any:
    """Return an optimizer, a loss or a metric that may be named, or None."""
    if value is None:
        return None
    if isinstance(value, str):
        if value not in _WORDS[kind]:
            raise _unknown(kind, value)
        return value
    name = _function(kind, value)
    return name if name else _object((kind,), value, depth)


def _function(kind: str, value: Any) -> str | None:
    """Return the name of one of Keras's functions, as a file holds a loss given as a function."""
    if not isinstance(value, dict) or value.get("class_name") != "function":
        return None
    name, module = value.get("config"), value.get("module")
    known = kind != "optimizer" and isinstance(name, str) and name in _WORDS[kind]
    if not known or module not in ("builtins", "keras.losses", "keras.metrics"):
        raise _unknown(kind, name if isinstance(name, str) else "a function")
    return name


def _parts(kind: str) -> Callable[[Any], Any]:
    """Return a check of one part, or of a list or dictionary of them."""

    def check(value: Any, depth: int = 0) -> Any:
        if depth > _DEEPEST:
            raise DamageError("config.json is nested too much")
        if isinstance(value, list):
            return [check(one, depth + 1) for one in value[:_LONGEST_LIST]]
        if isinstance(value, dict) and "class_name" not in value:
            return {name: check(one, depth + 1) for name, one in value.items()}
        return _part(kind, value)

    return check


def _object(kinds: tuple[str, ...], value: Any, depth: int) -> dict[str, Any]:
    """Return a part with its configuration checked."""
    named = value if isinstance(value, dict) else {}
    part = tuple(named.get(key) for key in ("module", "class_name", "registered_name"))
    config = named.get("config")
    known = all(isinstance(one, str | None) for one in part) and any(
        part in _PARTS[kind] for kind in kinds
    )
    if not known or named.keys() != _OBJECT or not isinstance(config, dict):
        raise _unknown(kinds[0], named.get("registered_name") or named.get("class_name") or value)
    most = _MOST_ROWS if kinds == ("metric",) else None
    checked = {name: _value(name, inside, depth + 1, most) for name, inside in config.items()}
    return {**named, "config": checked}


def _value(name: str, value: Any, depth: int, most: int | None) -> Any:
    """Return a value of a part's configuration: plain, a list of plain ones, or another part."""
    if depth > _DEEPEST:
        raise DamageError("config.json is nested too much")
    if name == _PATTERNS:
        return _patterns(value)
    if isinstance(value, list):
        if len(value) > _LONGEST_LIST:
            raise DamageError(f"it could not be built: {name[:40]} is too long")
        return [_value(name, one, depth + 1, most) for one in value]
    if isinstance(value, dict):
        return _inner(name, value, depth)
    if not _is_plain(value) or (most and is_number(value) and abs(value) > most):
        raise DamageError(f"it could not be built: {name[:40]} cannot be {shown(value, 40)}")
    return value


def _inner(name: str, value: dict[str, Any], depth: int) -> Any:
    """Return a part inside a part: a schedule, the optimizer that a scaled one holds, a dtype."""
    if name == "dtype" and policy_name(value) in POLICIES:
        return policy_name(value)
    if name == "learning_rate":
        return _object(("schedule",), value, depth)
    if name == "inner_optimizer":
        return _object(("optimizer",), value, depth)
    raise _unknown(name[:40], value.get("registered_name") or value.get("class_name") or value)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool) or is_number(value) or word(value)


def _patterns(value: Any) -> list[str] | None:
    """Return what an optimizer searches for in the paths of the weights, if it is plain words."""
    words = [] if value is None else value
    plain = isinstance(words, list) and all(
        isinstance(one, str) and _PLAIN_WORD.fullmatch(one) for one in words
    )
    if not plain or len(words) > _MOST_PATTERNS:
        rule = "must name the layers an optimizer leaves out by letters, digits, _ and / alone"
        raise FlawError(rule, shown(value, 50), _REST)
    return value


def _weights(value: Any) -> Any:
    """Return the weights of losses: a number, or a list or dictionary of them, or None."""
    inside = value if isinstance(value, list) else [value]
    inside = list(value.values()) if isinstance(value, dict) else inside
    if not all(one is None or is_number(one) for one in inside):
        raise DamageError("it could not be built: its losses have no weights")
    return value


def _plain(rule: Callable[[Any], bool], name: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not rule(value):
            raise DamageError(f"it could not be built: {name} cannot be {shown(value, 40)}")
        return value

    return check


def _truth(value: Any) -> bool:
    return isinstance(value, bool)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "optimizer": lambda value: _part("optimizer", value),
    "loss": _parts("loss"),
    "metrics": _parts("metric"),
    "weighted_metrics": _parts("metric"),
    "loss_weights": _weights,
    "run_eagerly": _plain(_truth, "run_eagerly"),
    "auto_scale_loss": _plain(_truth, "auto_scale_loss"),
    "steps_per_execution": _plain(whole(1, 2**20), "steps_per_execution"),
    "jit_compile": _plain(
        lambda value: value is None or _truth(value) or value == "auto", "jit_compile"
    ),
}


def _unknown(kind: str, found: Any) -> FlawError:
    return FlawError(
        "must be compiled with parts that Keras or kseq bring",
        f"the {kind} {shown(found, 50)}",
        _REST,
    )
