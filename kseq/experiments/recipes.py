"""Recipes: named trainings of language models, every choice of each on one line.

`kseq train --recipe NAME` runs one; an option given beside the name replaces the recipe's choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """A training that is known to reach something.

    corpus: the text, as `kseq.load_corpus` takes it.
    settings: options of `kseq train` by their names in Python.
    """

    corpus: str
    settings: Mapping[str, Any]


# The first 10,000 characters, lines joined as the book joins them.
_BOOK_TEXT = {"max_tokens": 10_000, "valid": 10_000, "separator": "", "keep": "last"}

_SHAKESPEARE = {
    "cell": "lstm",
    "units": 512,
    "num_layers": 1,
    "embedding_dim": 64,
    "dtype": "mixed_bfloat16",
    "num_steps": 64,
    "optimizer": "adam",
    "learning_rate": 0.005,
    "schedule": "one_cycle",
}

RECIPES = {
    # Dive into Deep Learning 9.3: 500 epochs of SGD at 2, clipped at 1; training perplexity 1.03.
    "d2l": Recipe(
        "time_machine",
        {
            **_BOOK_TEXT,
            "cell": "lstm",
            "init": "torch",
            "optimizer": "sgd",
            "learning_rate": 2.0,
            "epochs": 500,
        },
    ),
    # Adam needs a seventh of the epochs; one cycle brings it down to 1.05.
    "d2l-fast": Recipe(
        "time_machine",
        {
            **_BOOK_TEXT,
            "cell": "gru",
            "optimizer": "adam",
            "learning_rate": 0.01,
            "schedule": "one_cycle",
            "epochs": 40,
        },
    ),
    # 1.46 nats per character of the last tenth.
    "tiny-shakespeare-3min": Recipe("tiny_shakespeare", {**_SHAKESPEARE, "epochs": 4}),
    # 1.445 nats.
    "tiny-shakespeare": Recipe("tiny_shakespeare", {**_SHAKESPEARE, "epochs": 5}),
    # 1.410 nats.
    "tiny-shakespeare-40min": Recipe(
        "tiny_shakespeare",
        {
            **_SHAKESPEARE,
            "num_layers": 2,
            "embedding_dim": 128,
            "dropout": 0.3,
            "input_dropout": 0.1,
            "output_dropout": 0.3,
            "dropout_kind": "locked",
            "weight_drop": 0.2,
            "batch_size": 64,
            "learning_rate": 0.004,
            "epochs": 24,
        },
    ),
}
