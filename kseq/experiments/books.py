"""Several books, one model each and one of all: what merging them gains and costs, in numbers.

A tenth of every book is held out.  Every row of the table is the same model, with the same
vocabulary (of the training parts of all), trained for about as many steps on one book, on all
of them one after the other, or on all of them as often as makes each count the same; its last
weights are judged, so that nothing was chosen by what was held out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from statistics import fmean
from typing import Any

from kseq.checks import one_of, positive_int, shown
from kseq.data.corpora import Corpus, load_corpus
from kseq.data.floors import ngram_floors
from kseq.data.windows import num_batches
from kseq.errors import UsageError
from kseq.nn.batches import SequentialBatches
from kseq.nn.language_model import LanguageModel
from kseq.nn.optimizers import clipped_optimizer
from kseq.nn.schedules import schedule
from kseq.training import held_out_batches, train


@dataclass(frozen=True)
class BookPlan:
    """The model and its training: the same for every row.

    Attributes:
        steps: about how many; each row has as many whole epochs as come nearest to them.
        fraction: the share of each book to train on; the rest of it is held out.
        learning_rate: the peak of one cycle of Adam.
        seeds: how many trainings each row is the mean of, with `seed` and those that follow.
    """

    steps: int = 3000
    fraction: float = 0.9
    cell: str = "gru"
    units: int = 256
    num_layers: int = 1
    dropout: float = 0.0
    learning_rate: float = 0.005
    batch_size: int = 32
    num_steps: int = 35
    seed: int = 0
    seeds: int = 1


@dataclass(frozen=True)
class BookRow:
    """What one training reached, or the mean of several that differ in their seeds.

    Attributes:
        trained_on: the book or books, and how they were weighed.
        weights: how often an epoch read each.
        tokens: of an epoch.
        epochs, steps: of each training.
        seconds: of all of them.
        held_out: for each book perplexity, bits per token, how far those of a seed lie from their
            middle at most, and the perplexity of guessing by the bigrams of what was trained on.
    """

    trained_on: str
    weights: tuple[float, ...]
    tokens: int
    epochs: int
    steps: int
    seconds: float
    held_out: Mapping[str, Mapping[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain values."""
        return asdict(self)


def compare_books(
    sources: Sequence[Any],
    data_dir: Any = None,
    report: Callable[[str, dict[str, Any]], None] | None = None,
    cleaning: str | None = None,
    **settings: Any,
) -> list[BookRow]:
    """Return a row for each book alone, for all of them, and for all of them evenly.

    Args:
        sources: at least two texts, as `load_corpus` takes them.
        data_dir: folder in which to look for named texts first.
        report: called with the name of a row and the record of each of its epochs.
        cleaning: "d2l" or "none" for all of them; by default that of the texts.
        settings: of `BookPlan`: steps, cell, units, seed, seeds and others.

    Raises:
        UsageError: fewer than two books, or a setting that there is not or that cannot be used.
        DataError, FileError: as `load_corpus`, or a book too short to cut or to make a batch of.

    Example:
        >>> import pathlib, tempfile
        >>> books = [pathlib.Path(tempfile.mkdtemp()) / name for name in ("sea.txt", "sky.txt")]
        >>> lengths = [path.write_text(f"the {path.stem} " * 2000) for path in books]
        >>> [row.trained_on for row in compare_books(books, steps=1, units=4)]
        ['sea.txt', 'sky.txt', 'all']
    """
    for name in settings:
        one_of("setting", name, [field.name for field in fields(BookPlan)])
    plan = BookPlan(**settings)
    positive_int("steps", plan.steps)
    positive_int("seeds", plan.seeds)
    text = load_corpus(list(sources), cleaning=cleaning, data_dir=data_dir)
    _require_books([document.name for document in text.documents])
    train_part, held_out = text.split(plan.fraction, each=True)
    mixtures = [
        (name, train_part.mixed(weights), weights) for name, weights in _weights(train_part)
    ]
    for name, mixture, _ in mixtures:
        num_batches(len(mixture), plan.batch_size, plan.num_steps, name)
    return [_row(*each, held_out, plan, report) for each in mixtures]


def _require_books(names: Sequence[str]) -> None:
    if len(names) < 2:
        raise UsageError("sources: must be at least two books, found one; name another")
    if len(set(names)) < len(names):
        raise UsageError(
            f"sources: must be books of different names, found {shown(names)}; rename a file"
        )


def _weights(train_part: Corpus) -> list[tuple[str, tuple[float, ...]]]:
    """Return each row's name, and how often it reads each book in an epoch."""
    books = train_part.documents
    alone = [
        (book.name, tuple(float(place == other) for other in range(len(books))))
        for place, book in enumerate(books)
    ]
    longest = max(map(len, books))
    evenly = tuple(longest / len(book) for book in books)
    rows = [*alone, ("all", (1.0,) * len(books))]
    return rows if max(evenly) == 1 else [*rows, ("all, evenly", evenly)]


def _row(
    name: str,
    text: Corpus,
    weights: tuple[float, ...],
    held_out: Corpus,
    plan: BookPlan,
    report: Callable[[str, dict[str, Any]], None] | None,
) -> BookRow:
    steps = num_batches(len(text), plan.batch_size, plan.num_steps, name)
    epochs = max(1, round(plan.steps / steps))
    began = time.perf_counter()
    losses = [
        _losses(name, text, held_out, replace(plan, seed=seed), epochs, report)
        for seed in range(plan.seed, plan.seed + plan.seeds)
    ]
    seconds = time.perf_counter() - began
    found = {
        part.name: _score([each[part.name] for each in losses], ngram_floors(text, part).bigram)
        for part in held_out.by_document()
    }
    return BookRow(name, weights, len(text), epochs, epochs * steps, seconds, found)


def _losses(
    name: str,
    text: Corpus,
    held_out: Corpus,
    plan: BookPlan,
    epochs: int,
    report: Callable[[str, dict[str, Any]], None] | None,
) -> dict[str, float]:
    """Return the nats per token of every book, of a model trained with one seed."""
    batches = SequentialBatches(text, plan.batch_size, plan.num_steps, seed=plan.seed)
    model = _model(text, plan, epochs * len(batches))
    told = None if report is None else lambda record: report(name, record)
    train(model, batches, epochs, keep="last", report=told)
    return {
        part.name: model.evaluate(held_out_batches(part, batches), verbose=0)[0]
        for part in held_out.by_document()
    }


def _score(losses: Sequence[float], bigram: float) -> dict[str, float]:
    loss, bits = fmean(losses), [loss / math.log(2) for loss in losses]
    spread = (max(bits) - min(bits)) / 2
    return {"perplexity": math.exp(loss), "bits": fmean(bits), "spread": spread, "bigram": bigram}


def _model(text: Corpus, plan: BookPlan, steps: int) -> Any:
    model = LanguageModel(
        text.vocab,
        cell=plan.cell,
        units=plan.units,
        num_layers=plan.num_layers,
        dropout=plan.dropout,
        seed=plan.seed,
    )
    rate = schedule("one_cycle", plan.learning_rate, steps)
    model.compile(clipped_optimizer("adam", rate))
    return model


def books_in_words(rows: Sequence[BookRow]) -> str:
    """Return the rows as a table: held-out perplexity and bits per character on each book.

    Below it stands what training on all gains (-) or costs (+) on each book, in bits, and how far
    the bits of one seed lie from their middle, where there were several.

    Example:
        >>> score = {"perplexity": 4.0, "bits": 2.0, "bigram": 9.0}
        >>> worse = {"perplexity": 8.0, "bits": 3.0, "bigram": 9.5}
        >>> rows = [
        ...     BookRow("a", (1, 0), 900, 2, 8, 1.0, {"a": score, "b": worse}),
        ...     BookRow("b", (0, 1), 900, 2, 8, 1.0, {"a": worse, "b": score}),
        ...     BookRow("all", (1, 1), 1800, 1, 8, 1.0, {"a": score, "b": worse}),
        ... ]
        >>> print(books_in_words(rows))
        trained on              tokens  epochs  steps                     a                     b
        a                          900       2      8     4.00 (2.000 bits)     8.00 (3.000 bits)
        b                          900       2      8     8.00 (3.000 bits)     4.00 (2.000 bits)
        all                      1,800       1      8     4.00 (2.000 bits)     8.00 (3.000 bits)
        bigrams of all                                       9.00                  9.50
        all against its own: a +0.000 bits, b +1.000 bits
    """
    books = list(rows[0].held_out)
    head = f"{'trained on':20}{'tokens':>10}{'epochs':>8}{'steps':>7}"
    lines = [head + "".join(f"{name[:20]:>22}" for name in books), *map(_in_words, rows)]
    alone = {row.trained_on: row for row in rows[: len(books)]}
    merged = rows[len(books)]
    floors = "".join(f"{merged.held_out[name]['bigram']:12.2f}{'':10}" for name in books)
    lines.append(f"{'bigrams of all':45}{floors}".rstrip())
    for row in rows[len(books) :]:
        changes = [
            f"{name} {row.held_out[name]['bits'] - alone[name].held_out[name]['bits']:+.3f} bits"
            for name in books
        ]
        lines.append(f"{row.trained_on} against its own: {', '.join(changes)}")
    spreads = [score.get("spread", 0.0) for row in rows for score in row.held_out.values()]
    if max(spreads):
        lines.append(f"seeds differ by up to {max(spreads):.3f} bits to either side")
    return "\n".join(lines)


def _in_words(row: BookRow) -> str:
    start = f"{row.trained_on[:20]:20}{row.tokens:>10,}{row.epochs:>8}{row.steps:>7}"
    scores = "".join(
        f"{score['perplexity']:9.2f} ({score['bits']:.3f} bits)".rjust(22)
        for score in row.held_out.values()
    )
    return start + scores
