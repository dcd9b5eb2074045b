"""`kseq evaluate`: how well a model predicts a text, beside the floors."""

from __future__ import annotations

import argparse
import math
from typing import Any

from kseq.checks import shown_path
from kseq.cli.engine import on_device
from kseq.cli.printing import print_report
from kseq.cli.texts import evaluation_texts
from kseq.data import windows
from kseq.data.corpora import Corpus
from kseq.data.floors import ngram_floors
from kseq.errors import NumericalError


def evaluate(options: argparse.Namespace) -> None:
    """Print loss, perplexity and bits per token of a model on a text.

    The floors of what the model's own text held out come from counting its training text, as
    `kseq train` gives them; any other text is counted itself.

    Raises:
        NumericalError: the loss or the perplexity is not finite.
    """
    import kseq
    from kseq.saving import check_model_file

    # A bad file is refused before an engine takes seconds to start.
    check_model_file(options.model, kind="LanguageModel")
    with on_device(options.device):
        model = kseq.load_model(options.model, kind="LanguageModel")
        corpus, trained_on = evaluation_texts(model, options)
        report = {"model": options.model, "corpus": corpus.name}
        report |= measured(model, corpus, options.batch_size, options.num_steps)
        report["documents"] = measured_each(model, corpus, options.batch_size, options.num_steps)
    for each in (report, *report["documents"]):
        _check_finite(options.model, each)
    floors = ngram_floors(corpus) if trained_on is None else ngram_floors(trained_on, corpus)
    report["floors"] = floors.to_dict()
    report["floors_from"] = "the text itself" if trained_on is None else "the training text"
    print_report(report, _in_words(report, corpus.label), options.json)


def _check_finite(path: str, figures: dict[str, Any]) -> None:
    if not (math.isfinite(figures["loss"]) and math.isfinite(figures["perplexity"])):
        raise NumericalError(
            f"{shown_path(path)}: must give a text a finite loss and perplexity, found "
            f"{figures['loss']:.4g} and {figures['perplexity']:.4g}; train it again with a lower "
            "learning rate"
        )


def measured(model: Any, corpus: Corpus, batch_size: int, num_steps: int) -> dict[str, Any]:
    """Return tokens, unknown ones, loss, perplexity and bits per token of a model on a text.

    Raises:
        DataError: the text has fewer than 2 tokens.
    """
    import kseq

    rows, steps = windows.evaluation_layout(len(corpus), batch_size, num_steps, corpus.label)
    batches = kseq.SequentialBatches(corpus, rows, steps, seed=None)
    if not model.compiled:
        model.compile()
    loss, perplexity = model.evaluate(batches, verbose=0)[:2]
    return {
        "tokens": batches.tokens_per_epoch,
        "unknown": corpus.unk_count,
        "unknown_share": corpus.unk_count / len(corpus),
        "loss": loss,
        "perplexity": perplexity,
        "bits_per_token": loss / math.log(2),
    }


def measured_each(
    model: Any, corpus: Corpus, batch_size: int, num_steps: int
) -> list[dict[str, Any]]:
    """Return the same of each document of a corpus of several, by name; it is judged alone.

    A document of fewer than 2 tokens, which has no target, is left out.
    """
    if len(corpus.documents) < 2:
        return []
    return [
        {"name": part.name} | measured(model, part, batch_size, num_steps)
        for part in corpus.by_document()
        if len(part) > 1
    ]


def documents_in_words(documents: list[dict[str, Any]]) -> list[str]:
    """Return a table of documents, or nothing where there is none."""
    rows = [
        f"{shown_path(each['name'], 40):40}{each['tokens']:>11,}{each['perplexity']:12.3f}"
        f"{each['bits_per_token']:10.4f}"
        for each in documents
    ]
    return [f"{'document':40}{'tokens':>11}{'perplexity':>12}{'bits':>10}", *rows] if rows else []


def unknown_in_words(unknown: int, share: float) -> str:
    """Return how many tokens the vocabulary lacks, and their share; nothing where it lacks none.

    Example:
        >>> unknown_in_words(50, 0.025), unknown_in_words(0, 0)
        (', 50 of them <unk> (2.5 %)', '')
    """
    return f", {unknown:,} of them <unk> ({100 * share:.1f} %)" if unknown else ""


def _in_words(report: dict[str, Any], label: str) -> str:
    floors: dict[str, float] = report["floors"]
    beside = ", ".join(f"{name} {value:.2f}" for name, value in floors.items())
    unknown = unknown_in_words(report["unknown"], report["unknown_share"])
    return "\n".join(
        [
            f"{label}: {report['tokens']:,} tokens{unknown}",
            f"perplexity {report['perplexity']:.3f} "
            f"(guessing from {report['floors_from']}: {beside})",
            f"loss {report['loss']:.4f} nats, {report['bits_per_token']:.4f} bits per token",
            *documents_in_words(report["documents"]),
        ]
    )
