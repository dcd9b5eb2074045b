"""A training as data: its records, its settings, and the folder it can go on from.

run_dir/settings.json     what is trained: the model, the batches, the text, the optimizer
run_dir/history.json      one record an epoch, written after each
run_dir/checkpoint.keras  the model and its optimizer after the latest epoch
run_dir/best.keras        the same after the best epoch so far
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kseq.checks import shown
from kseq.data.files import write_text
from kseq.errors import DataError, FileError, UsageError
from kseq.saving import load_model

Record = dict[str, Any]

# A new run in the folder of an old one must not go on from it when it is resumed.
_OF_EARLIER_RUNS = ("checkpoint.keras", "best.keras", "history.json")


@dataclass
class Run:
    """What a training did.

    records: one dictionary an epoch: epoch (from 1), loss (nats per token), perplexity,
        learning_rate, tokens_per_second, seconds, seconds_left, skipped_steps, with held-out text
        val_loss and val_perplexity, and at times samples.
    stopped_early: whether patience ran out before the last epoch.

    Example:
        >>> Run([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.5}]).best_epoch
        2
    """

    records: list[Record] = field(default_factory=list)
    stopped_early: bool = False

    @property
    def best_epoch(self) -> int:
        """The epoch with the lowest held-out loss (training loss without one), or 0."""
        finite = [record for record in self.records if math.isfinite(judged(record))]
        return min(finite, key=judged)["epoch"] if finite else 0

    def to_dict(self) -> dict[str, Any]:
        """Return the run as plain values, for history.json."""
        return {
            "epochs": self.records,
            "best_epoch": self.best_epoch,
            "stopped_early": self.stopped_early,
        }


def judged(record: Record) -> float:
    """The loss an epoch is judged by: held-out where there is one."""
    return record.get("val_loss", record["loss"])


def settings_of(model: Any, batches: Any) -> dict[str, Any]:
    """Return what must stay the same for a training to go on, as plain JSON values."""
    config = model.get_config()
    names = ("cell", "units", "num_layers", "embedding_dim", "tie_weights", "dropout", "seed")
    settings = {
        **{name: config[name] for name in names},
        "vocab_size": len(model.vocab),
        "batches": type(batches).__name__,
        "batch_size": batches.batch_size,
        "num_steps": batches.num_steps,
        "batches_seed": batches.seed,
        "corpus": None if batches.corpus is None else _text_of(batches.corpus),
        "tokens": len(batches.ids),
        "epochs_before": model.provenance.epochs,
        "optimizer": type(model.optimizer).__name__,
        "learning_rate": _learning_rate(model.optimizer),
        "clipping": [model.optimizer.global_clipnorm, model.optimizer.clipnorm],
    }
    return json.loads(json.dumps(settings))


def _text_of(corpus: Any) -> dict[str, Any]:
    names = ("sha256", "level", "cleaning", "separator", "start")
    return {name: corpus.provenance[name] for name in names}


def _learning_rate(optimizer: Any) -> Any:
    """Return the number, or the name and numbers of the schedule."""
    rate = optimizer.get_config()["learning_rate"]
    return {"schedule": rate["class_name"], **rate["config"]} if isinstance(rate, dict) else rate


class RunFolder:
    """The files of a run; without a path every method does nothing.

    Raises:
        FileError: the folder cannot be made or written to.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path)

    def start(self, model: Any, settings: dict[str, Any], resume: bool) -> list[Record]:
        """Make the folder, or bring `model` to where the run stopped; return its records.

        Raises:
            UsageError: the run was begun with other settings; each difference is named.
            DataError: the text has changed since.
        """
        if self.path is None:
            return []
        _make_folder(self.path)
        if resume and (self.path / "checkpoint.keras").exists():
            return self._go_on(model, settings)
        for name in _OF_EARLIER_RUNS:
            (self.path / name).unlink(missing_ok=True)
        write_text(self.path / "settings.json", _json(settings))
        return []

    def keep(self, model: Any, run: Run, is_best: bool) -> None:
        """Write the history and then the checkpoint, which says how much of it counts."""
        if self.path is None:
            return
        self.write_history(run)
        if is_best:
            model.save(self.path / "best.keras")
        model.save(self.path / "checkpoint.keras")

    def write_history(self, run: Run) -> None:
        """Write history.json."""
        if self.path is not None:
            write_text(self.path / "history.json", _json(run.to_dict()))

    def best_weights(self) -> list[np.ndarray] | None:
        """Return the weights after the best epoch so far, or None."""
        if self.path is None or not (self.path / "best.keras").exists():
            return None
        return load_model(self.path / "best.keras").get_weights()

    def _go_on(self, model: Any, settings: dict[str, Any]) -> list[Record]:
        assert self.path is not None
        _check_same(self.path, _read_json(self.path / "settings.json"), settings)
        checkpoint = load_model(self.path / "checkpoint.keras")
        done = checkpoint.provenance.epochs - model.provenance.epochs
        _copy_state(checkpoint, model)
        return _read_json(self.path / "history.json")["epochs"][:done]


def _check_same(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
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


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Name each entry of an inner dictionary by both its names."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        flat |= {f"{name} {part}".strip(): item for part, item in inner}
    return flat


def _copy_state(source: Any, target: Any) -> None:
    """Copy weights, random streams, optimizer state and provenance between equal models."""
    if not target.optimizer.built:
        target.optimizer.build(target.trainable_variables)
    pairs = zip(source.variables, target.variables, strict=True)
    optimizers = zip(source.optimizer.variables, target.optimizer.variables, strict=True)
    for old, new in (*pairs, *optimizers):
        new.assign(old.value)
    target.provenance = source.provenance


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"{path}: the run folder must be writable, found {error.strerror}; choose another"
        ) from error
    if not os.access(path, os.W_OK):
        raise FileError(
            f"{path}: the run folder must be writable, found no permission; choose another"
        )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(
            f"{path}: must hold the run's facts, found it missing or broken; start a new run"
        ) from error


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
