"""What the configuration of a model may say: every key, and which values each may have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kseq.checks import shown
from kseq.data.model_files.json_facts import is_number
from kseq.data.model_files.refusing import DamageError
from kseq.data.vocab import Vocab
from kseq.data.windows import LARGEST_SEED
from kseq.errors import ModelFileError

_FUSED = ("simple_rnn", "gru", "lstm")
_SCRATCH = ("scratch_simple_rnn", "scratch_gru", "scratch_lstm", "peephole_lstm")
CELLS = (*_FUSED, *_SCRATCH)
POLICIES = (
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "mixed_float16",
    "mixed_bfloat16",
)
_PRESETS = ("keras", "torch", "d2l")
_POLICY_CLASSES = ("DTypePolicy", "FloatDTypePolicy")
_LONGEST_WORD = 1000
# Where each of 10,000 documents begins and ends.
_LONGEST_LIST = 20_000
_LARGEST_SEED = 2**31 - 1
_LARGEST_WEIGHT = 1e30
_MOST_FACTS = 100
# What is divided by, or forecast, in float32.
_TINIEST, _LARGEST_FLOAT32 = 1.2e-38, 3.4e38
# As far ahead as a forecast goes.
_FARTHEST = 2**20

Rule = Callable[[Any], bool]


def whole(least: int, most: int) -> Rule:
    """Return the rule that a value is a whole number in `least`..`most`."""
    return lambda value: type(value) is int and least <= value <= most


def word(value: Any) -> bool:
    """Whether a value is a string that is not too long."""
    return isinstance(value, str) and len(value) <= _LONGEST_WORD


def _one_of(*words: str) -> Rule:
    return lambda value: isinstance(value, str) and value in words


def _or_none(rule: Rule) -> Rule:
    return lambda value: value is None or rule(value)


def _truth(value: Any) -> bool:
    return isinstance(value, bool)


def _share(value: Any) -> bool:
    return is_number(value) and 0 <= value < 1


def _weight(value: Any) -> bool:
    return is_number(value) and 0 <= value <= _LARGEST_WEIGHT


def _name(value: Any) -> bool:
    return word(value) and value.isprintable() and "/" not in value


def _policy(value: Any) -> bool:
    return policy_name(value) in POLICIES


def policy_name(value: Any) -> str:
    """Return the name of a dtype policy as Keras writes it, or "" for anything else.

    Example:
        >>> policy_name("mixed_bfloat16"), policy_name({"class_name": "Lambda"})
        ('mixed_bfloat16', '')
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, dict) or value.get("class_name") not in _POLICY_CLASSES:
        return ""
    rest = {name: value.get(name) for name in value if name not in ("class_name", "config")}
    config = value.get("config")
    plain = isinstance(config, dict) and list(config) == ["name"] and word(config["name"])
    sound = rest.get("module") == "keras" and rest.get("registered_name") is None
    return config["name"] if plain and sound and len(value) == 4 else ""  # type: ignore[index]


def _scaling(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != {"mean", "scale"}:
        return False
    return _is_float32(value["mean"]) and _is_float32(value["scale"]) and value["scale"] > _TINIEST


def _is_float32(value: Any) -> bool:
    return is_number(value) and abs(value) <= _LARGEST_FLOAT32


def _margins(value: Any) -> bool:
    """Whether each level has a width for each step ahead, and there is at least one of both."""
    if not isinstance(value, dict) or not all(map(_is_level, value)):
        return False
    widths = list(value.values())
    lengths = {len(each) for each in widths if isinstance(each, list)}
    return (
        all(isinstance(each, list) and all(map(_is_float32, each)) for each in widths)
        and len(lengths) == 1
        and 0 < min(lengths) <= _FARTHEST
    )


def _is_level(level: str) -> bool:
    try:
        return 0 < float(level) < 1
    except ValueError:
        return False


def _list_of(rule: Rule) -> Rule:
    return lambda value: (
        isinstance(value, list) and len(value) <= _LONGEST_LIST and all(map(rule, value))
    )


def _facts(rules: dict[str, Rule], other: Rule, *required: str) -> Rule:
    """Return the rule that a value has the facts `required`, each by its rule or by `other`."""

    def holds(value: Any) -> bool:
        if not isinstance(value, dict) or len(value) > _MOST_FACTS:
            return False
        return value.keys() >= set(required) and all(
            word(name) and rules.get(name, other)(fact) for name, fact in value.items()
        )

    return holds


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool) or word(value) or is_number(value)


def _plain_or_listed(value: Any) -> bool:
    return _plain(value) or _list_of(_plain)(value)


def _figure(value: Any) -> bool:
    """A loss may be NaN or infinite, but no number that is none to others."""
    return isinstance(value, float) or is_number(value)


_COUNT = whole(0, 2**53)
_PLACES = _or_none(_list_of(_COUNT))
_CORPUS = _facts(
    {
        "name": word,
        "sha256": word,
        "edition": _or_none(word),
        "level": _one_of("char", "word"),
        "cleaning": _one_of("d2l", "none"),
        "separator": word,
        "part": _or_none(word),
        "start": _COUNT,
        "stop": _COUNT,
        "total": _COUNT,
        "documents": _or_none(_list_of(word)),
        "pieces": _PLACES,
        "held_out": _PLACES,
    },
    _plain_or_listed,
    *("name", "sha256", "level", "cleaning", "separator", "start", "stop", "total"),
)
_SERIES = _facts(
    {
        "name": word,
        "column": _or_none(word),
        "time": _or_none(word),
        "points": _or_none(_COUNT),
        "train": _or_none(_COUNT),
        "valid": _or_none(_COUNT),
        "seed": _or_none(whole(0, LARGEST_SEED)),
    },
    _plain_or_listed,
    "name",
)
_PROVENANCE = _facts(
    {
        "corpus": _or_none(_CORPUS),
        "series": _or_none(_SERIES),
        "epochs": _COUNT,
        "results": _facts({}, _figure),
        "kseq_version": _or_none(word),
    },
    lambda _: False,
)
_OF_ANY: dict[str, Rule] = {
    "name": _name,
    "trainable": _truth,
    "dtype": _policy,
    "dropout": _share,
    "init": _one_of(*_PRESETS),
    "seed": whole(0, _LARGEST_SEED),
    "provenance": _or_none(_PROVENANCE),
    "units": whole(1, 2**16),
    "num_layers": whole(1, 2**10),
}
_RULES: dict[str, dict[str, Rule]] = {
    "LanguageModel": {
        **_OF_ANY,
        "vocab": lambda value: isinstance(value, dict),
        "cell": _one_of(*CELLS),
        "embedding_dim": _or_none(whole(1, 2**16)),
        "tie_weights": _truth,
        "dropout_kind": _one_of("standard", "locked"),
        "input_dropout": _share,
        "output_dropout": _share,
        "embedding_dropout": _share,
        "weight_drop": _share,
        "activation_l2": _weight,
        "temporal_l2": _weight,
    },
    "Forecaster": {
        **_OF_ANY,
        "kind": _one_of("mlp", *CELLS),
        "window": _or_none(whole(1, 2**20)),
        "outputs": whole(1, 2**16),
        "every_step": _truth,
        "activation": _one_of("relu", "tanh", "linear"),
        "use_bias": _truth,
        "scaling": _one_of("none", "standard", "window"),
        "fitted": _or_none(_scaling),
        "margins": _or_none(_margins),
    },
}


def check_settings(kind: str, config: Any) -> dict[str, Any]:
    """Return the configuration of a model if it is one that could have been saved.

    Raises:
        DamageError: a key that no model has, or a value that none has there.
    """
    if kind == "LanguageModel" and not _has_vocabulary(config):
        raise DamageError("it has no vocabulary")
    if not isinstance(config, dict):
        raise DamageError("it has no settings")
    rules = _RULES[kind]
    for name, value in config.items():
        if name not in rules or not rules[name](value):
            raise DamageError(f"it could not be built: {name[:40]} cannot be {shown(value, 40)}")
    _check_together(kind, config)
    return config


def _has_vocabulary(config: Any) -> bool:
    vocab = config.get("vocab") if isinstance(config, dict) else None
    return isinstance(vocab, dict) and isinstance(vocab.get("tokens"), list)


def _check_together(kind: str, config: dict[str, Any]) -> None:
    if kind == "LanguageModel":
        _check_vocabulary(config["vocab"])
        width = config.get("embedding_dim")
        if config.get("tie_weights") and width not in (None, config.get("units", 256)):
            raise DamageError("it could not be built: tied weights of two widths")
        return
    window, whole_series = config.get("window", 4), config.get("every_step", False)
    rolling = window is None or whole_series
    if config.get("kind", "mlp") == "mlp" and (rolling or config.get("dropout")):
        raise DamageError("it could not be built: a perceptron without a window")
    if config.get("scaling") == "window" and rolling:
        raise DamageError("it could not be built: windows scaled that there are not")


def _check_vocabulary(vocab: dict[str, Any]) -> None:
    if not vocab.keys() <= {"tokens", "counts"}:
        raise DamageError("its vocabulary has a part that does not belong")
    try:
        Vocab.from_dict(vocab)
    except ModelFileError as error:
        found = str(error).partition(", found ")[2].rpartition("; ")[0]
        raise DamageError(f"its vocabulary has {found}") from error
