"""What each regulariser of the literature's language model is worth: all, all but one, none."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from kseq.checks import one_of
from kseq.data.corpora import Corpus, load_corpus
from kseq.nn.batches import SequentialBatches
from kseq.nn.language_model import LanguageModel
from kseq.nn.optimizers import clipped_optimizer
from kseq.training import train


@dataclass(frozen=True)
class Budget:
    """What every row gets alike: the size of the model, and how long it learns.

    max_tokens: of the text, both parts; None for all.
    """

    units: int = 512
    num_layers: int = 2
    embedding_dim: int = 128
    batch_size: int = 32
    num_steps: int = 70
    learning_rate: float = 4.0
    epochs: int = 20
    nonmonotone: int = 5
    max_tokens: int | None = None
    dtype: str = "float32"


FULL = Budget()
QUICK = Budget(
    units=64,
    embedding_dim=32,
    batch_size=16,
    num_steps=35,
    epochs=6,
    nonmonotone=1,
    max_tokens=50_000,
)

_EVERYTHING: dict[str, Any] = {
    "dropout": 0.2,
    "dropout_kind": "locked",
    "input_dropout": 0.1,
    "output_dropout": 0.2,
    "embedding_dropout": 0.02,
    "weight_drop": 0.2,
    "activation_l2": 1.0,
    "temporal_l2": 1.0,
    "num_steps_spread": 5,
    "optimizer": "asgd",
}
_NO_DROPOUT = {"dropout": 0.0, "input_dropout": 0.0, "output_dropout": 0.0}
_NOTHING = {
    **dict.fromkeys(_EVERYTHING, 0),
    "dropout_kind": "standard",
    "optimizer": "sgd",
}

# What each row changes of the first one.
REGULARIZERS: Mapping[str, Mapping[str, Any]] = {
    "everything": {},
    "dropout at every step instead of locked": {"dropout_kind": "standard"},
    "without dropout of vectors": _NO_DROPOUT,
    "without embedding dropout": {"embedding_dropout": 0.0},
    "without weight drop": {"weight_drop": 0.0},
    "without activation penalties": {"activation_l2": 0.0, "temporal_l2": 0.0},
    "without activation regularisation": {"activation_l2": 0.0},
    "without temporal activation regularisation": {"temporal_l2": 0.0},
    "with fixed lengths": {"num_steps_spread": 0},
    "without averaging": {"optimizer": "sgd"},
    "nothing": _NOTHING,
}


@dataclass(frozen=True)
class Ablated:
    """A row: nats per token of the epoch with the lowest held-out loss, training and held out.

    training: of the text learnt from, judged as the held-out text is, without dropout.
    epoch: which that was.  seconds: of the whole training.
    """

    name: str
    held_out: float
    training: float
    epoch: int
    seconds: float


def ablate_language_model(
    source: str = "tiny_shakespeare",
    rows: Sequence[str] = tuple(REGULARIZERS),
    quick: bool = False,
    seed: int = 0,
    report: Callable[[Ablated], None] | None = None,
    data_dir: str | None = None,
    **sizes: Any,
) -> list[Ablated]:
    """Train a language model with all regularisers, with each left out, and with none.

    The last tenth of the text is held out.  Every row has the same seed and budget; the learning
    rate is constant.

    Args:
        source: the name of a text, or its path, as `load_corpus` takes it.
        rows: names out of `kseq.experiments.language_ablation.REGULARIZERS`.
        quick: a small model on the first 50,000 tokens for a few epochs, which shows that it runs.
        seed: of weights, batches and dropout.
        report: called with each row when it is done.
        data_dir: folder in which to look for named texts first.
        sizes: of `kseq.experiments.language_ablation.Budget`, to replace some of it.

    Raises:
        UsageError: a row or a size there is not.
        FileError: the text is not here.
        NumericalError: a training diverged.

    Source: Merity, Keskar and Socher, arXiv:1708.02182, its model ablation.

    Example:
        >>> tiny = {"units": 4, "num_layers": 1, "batch_size": 2, "epochs": 1, "max_tokens": 900}
        >>> rows = ablate_language_model("story", ["everything", "nothing"], quick=True, **tiny)
        >>> [row.name for row in rows]
        ['everything', 'nothing']
    """
    for name in rows:
        one_of("row", name, REGULARIZERS)
    for name in sizes:
        one_of("size", name, [field.name for field in fields(Budget)])
    budget = replace(QUICK if quick else FULL, **sizes)
    text = load_corpus(source, max_tokens=budget.max_tokens, data_dir=data_dir)
    train_part, held_out = text.split(0.9)
    found = []
    for name in rows:
        found.append(_row(name, train_part, held_out, budget, seed))
        if report:
            report(found[-1])
    return found


def _row(name: str, train_part: Corpus, held_out: Corpus, budget: Budget, seed: int) -> Ablated:
    began, chosen = time.perf_counter(), {**_EVERYTHING, **REGULARIZERS[name]}
    sizes = (budget.batch_size, budget.num_steps, seed)
    batches = SequentialBatches(train_part, *sizes, num_steps_spread=chosen["num_steps_spread"])
    model = _model(train_part, budget, chosen, seed)
    run = train(model, batches, budget.epochs, validation=held_out)
    best = run.records[run.best_epoch - 1]
    judged = model.evaluate(batches, verbose=0, return_dict=True)
    seconds = time.perf_counter() - began
    return Ablated(name, best["val_loss"], judged["loss"], run.best_epoch, seconds)


def _model(train_part: Corpus, budget: Budget, chosen: Mapping[str, Any], seed: int) -> Any:
    others = ("num_steps_spread", "optimizer")
    model = LanguageModel(
        train_part.vocab,
        cell="lstm",
        units=budget.units,
        num_layers=budget.num_layers,
        embedding_dim=budget.embedding_dim,
        seed=seed,
        dtype=budget.dtype,
        **{option: value for option, value in chosen.items() if option not in others},
    )
    averaged = chosen["optimizer"] == "asgd"
    more = {"nonmonotone": budget.nonmonotone} if averaged else {}
    model.compile(clipped_optimizer(chosen["optimizer"], budget.learning_rate, **more))
    return model
