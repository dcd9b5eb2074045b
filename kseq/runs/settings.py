"""What must stay the same for a training to go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kseq.checks import shown, shown_path
from kseq.errors import DataError, UsageError
from kseq.runs.identity import held_out_of, ids_hash, text_of, vocabulary_hash

# What runs of earlier versions did not write down is compared only where both sides know it.
_LATER = ("ids", "vocabulary", "validation", "init", "patience", "plateau", "keep", "update")
# What tells nobody anything where something else differs too.
_HASHES = ("ids", "vocabulary", "validation sha256")
# What of an optimizer's configuration has an entry of its own, or is but a name.
_ELSEWHERE = (
    *("name", "learning_rate", "global_clipnorm", "clipnorm", "nonmonotone", "inner_optimizer"),
)


def settings_of(
    model: Any,
    batches: Any,
    validation: Any = None,
    *,
    patience: int | None = None,
    plateau: int | None = None,
    keep: str = "best",
) -> dict[str, Any]:
    """Return what must stay the same for a training to go on, as plain JSON values.

    The arguments are those of `kseq.train`.
    """
    from kseq.nn.regularization import changed_names  # and Keras with it

    config = model.get_config()
    names = ("cell", "units", "num_layers", "embedding_dim", "tie_weights", "dropout", "seed")
    settings = {
        **{name: config[name] for name in names},
        # What does nothing is left out, as in the settings of runs from before there was any.
        **changed_names(config),
        "init": config["init"],
        "dtype": model.dtype_policy.name,
        "vocab_size": len(model.vocab),
        **_read_by(model, batches),
        **_stepped_by(model.optimizer),
        "validation": held_out_of(validation),
        "patience": patience,
        "plateau": plateau,
        "keep": keep,
    }
    return json.loads(json.dumps(settings, default=str))


def check_same(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with other settings than those a run was begun with.

    Raises:
        UsageError: settings differ; each difference is named.
        DataError: the text has changed.
    """
    _check_same_text(path, before, now)
    found = differences(_comparable(before, now), _comparable(now, before), "then", "now")
    if found:
        raise UsageError(
            f"{path}: a resumed run must keep its settings, found {', '.join(found)}; "
            "use the same, or another run folder"
        )


def differences(
    one: dict[str, Any], other: dict[str, Any], of_one: str, of_other: str
) -> list[str]:
    """Say of every setting that differs what it is in both, each followed by the words for it.

    Example:
        >>> differences({"units": 8, "text": {"start": 0}}, {"units": 9}, "then", "now")
        ['units 8 then and 9 now', 'text start 0 then and None now']
    """
    one, other = _flat(one), _flat(other)
    names = [name for name in {**other, **one} if one.get(name) != other.get(name)]
    return [
        f"{shown_path(name)} {shown(one.get(name), 24)} {of_one} and "
        f"{shown(other.get(name), 24)} {of_other}"
        for name in [name for name in names if name not in _HASHES] or names
    ]


def _check_same_text(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    as_long = before.get("tokens") == now.get("tokens")
    for name in ("corpus", "ids") if as_long else ("corpus",):
        then, found = _hash_in(before.get(name)), _hash_in(now.get(name))
        if then and found and then != found:
            raise DataError(
                f"{path}: a resumed run must keep its text, found another (sha256 "
                f"{shown(then[:8])} then and {shown(found[:8])} now); bring the text back, or use "
                "another run folder"
            )


def _hash_in(text: Any) -> str | None:
    """Return the hash in what a file says of a text, or None where it says none."""
    found = text.get("sha256") if isinstance(text, dict) else text
    return found if isinstance(found, str) else None


def _comparable(settings: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """Return of `settings` what can be held against `others`."""
    kept = {name: value for name, value in settings.items() if name not in _LATER or name in others}
    if settings.get("optimizer") != others.get("optimizer"):
        kept.pop("update", None)
    for name in _LATER:
        mine, theirs = kept.get(name), others.get(name)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            kept[name] = {part: value for part, value in mine.items() if part in theirs}
    return kept


def _read_by(model: Any, batches: Any) -> dict[str, Any]:
    corpus = batches.corpus
    spread = getattr(batches, "num_steps_spread", 0)
    return {
        "batches": type(batches).__name__,
        "batch_size": batches.batch_size,
        "num_steps": batches.num_steps,
        "batches_seed": batches.seed,
        **({"num_steps_spread": spread} if spread else {}),
        "corpus": None if corpus is None else text_of(corpus),
        "ids": ids_hash(batches.ids) if corpus is None else None,
        "vocabulary": vocabulary_hash(model.vocab, corpus.vocab if corpus else model.vocab),
        "tokens": len(batches.ids),
    }


def _stepped_by(outer: Any) -> dict[str, Any]:
    # Half precision has Keras's optimizer that scales the loss around the one that steps.
    optimizer = getattr(outer, "inner_optimizer", outer)
    config = {**outer.get_config(), **optimizer.get_config()}
    nonmonotone = getattr(optimizer, "nonmonotone", None)
    return {
        "optimizer": type(optimizer).__name__,
        "learning_rate": _learning_rate(optimizer),
        **({} if nonmonotone is None else {"nonmonotone": nonmonotone}),
        "clipping": [optimizer.global_clipnorm, optimizer.clipnorm],
        "update": {name: value for name, value in config.items() if name not in _ELSEWHERE},
    }


def _learning_rate(optimizer: Any) -> Any:
    """Return the number the rate began with, or the name and numbers of the schedule."""
    rate = optimizer.get_config()["learning_rate"]
    return {"schedule": rate["class_name"], **rate["config"]} if isinstance(rate, dict) else rate


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Name each entry of an inner dictionary by both its names."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        flat |= {f"{name} {part}".strip(): item for part, item in inner}
    return flat
