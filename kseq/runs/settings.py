"""What must stay the same for a training to go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kseq.checks import shown
from kseq.errors import DataError, UsageError


def settings_of(model: Any, batches: Any) -> dict[str, Any]:
    """Return what must stay the same for a training to go on, as plain JSON values."""
    from kseq.nn.regularization import changed_names  # and Keras with it

    config = model.get_config()
    # Half precision has Keras's optimizer that scales the loss around the one that steps.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    names = ("cell", "units", "num_layers", "embedding_dim", "tie_weights", "dropout", "seed")
    settings = {
        **{name: config[name] for name in names},
        # What does nothing is left out, as in the settings of runs from before there was any.
        **changed_names(config),
        "dtype": model.dtype_policy.name,
        "vocab_size": len(model.vocab),
        "batches": type(batches).__name__,
        "batch_size": batches.batch_size,
        "num_steps": batches.num_steps,
        "batches_seed": batches.seed,
        **_spread_of(batches),
        "corpus": None if batches.corpus is None else _text_of(batches.corpus),
        "tokens": len(batches.ids),
        "optimizer": type(optimizer).__name__,
        "learning_rate": _learning_rate(optimizer),
        **_averaging_of(optimizer),
        "clipping": [optimizer.global_clipnorm, optimizer.clipnorm],
    }
    return json.loads(json.dumps(settings))


def check_same(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with other settings than those a run was begun with.

    Raises:
        UsageError: settings differ; each difference is named.
        DataError: the text has changed.
    """
    _check_same_text(path, before.get("corpus"), now["corpus"])
    before, now = _flat(before), _flat(now)
    differences = [
        f"{name} {shown(before.get(name), 24)} then and {shown(now.get(name), 24)} now"
        for name in dict.fromkeys((*now, *before))
        if before.get(name) != now.get(name)
    ]
    if differences:
        raise UsageError(
            f"{path}: a resumed run must keep its settings, found {', '.join(differences)}; "
            "use the same, or another run folder"
        )


def _check_same_text(path: Path, before: Any, now: Any) -> None:
    if before and now and before["sha256"] != now["sha256"]:
        raise DataError(
            f"{path}: a resumed run must keep its text, found another (sha256 "
            f"{before['sha256'][:8]} then and {now['sha256'][:8]} now); bring the text back, or "
            "use another run folder"
        )


def _spread_of(batches: Any) -> dict[str, int]:
    spread = getattr(batches, "num_steps_spread", 0)
    return {"num_steps_spread": spread} if spread else {}


def _averaging_of(optimizer: Any) -> dict[str, int]:
    nonmonotone = getattr(optimizer, "nonmonotone", None)
    return {} if nonmonotone is None else {"nonmonotone": nonmonotone}


def _text_of(corpus: Any) -> dict[str, Any]:
    names = ("sha256", "level", "cleaning", "separator", "start")
    # Weights may mix the same documents into as many tokens in another order.
    names += ("pieces", "held_out") if corpus.held_out or len(corpus.documents) > 1 else ()
    return {name: corpus.provenance[name] for name in names}


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
