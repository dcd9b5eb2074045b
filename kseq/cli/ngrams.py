"""`kseq figures ngrams`: how often runs of tokens occur, and how well counting them predicts."""

from __future__ import annotations

import argparse
from typing import Any

from kseq.cli.indexing import kept_ids
from kseq.data.corpora import Corpus, load_corpus
from kseq.data.ngram_models import ngram_perplexities
from kseq.data.ngrams import NgramStatistics, ngram_statistics

TRAINING_SHARE = 0.9
MODEL_ORDERS = (1, 2, 3, 4, 5)
_TOP = 3


def drawn(options: argparse.Namespace) -> tuple[Any, dict[str, Any], list[str]]:
    """Return the picture of a text's n-grams, its numbers, and tables for a person."""
    from kseq.figures.ngrams import plot_ngrams

    corpus = load_corpus(
        options.corpus,
        level=options.level,
        cleaning=options.cleaning,
        encoding=options.encoding,
        min_freq=options.min_freq,
        data_dir=options.data_dir,
        **kept_ids(options),
    )
    counted = ngram_statistics(corpus)
    train, held_out = corpus.split(TRAINING_SHARE)
    found = ngram_perplexities(train, held_out, MODEL_ORDERS)
    numbers = {"corpus": corpus.name, "level": corpus.level, "tokens": len(corpus)}
    numbers |= {"statistics": [statistics.to_dict() for statistics in counted]}
    numbers |= {"vocab_size": len(train.vocab), "held_out_tokens": len(held_out)}
    numbers |= {"unknown": {"training": unknown(train), "held_out": unknown(held_out)}}
    numbers |= {"perplexities": found}
    lines = [*_counts(corpus, counted), "", *_perplexities(numbers), ""]
    return plot_ngrams(counted), numbers, lines


def unknown(part: Corpus) -> dict[str, float]:
    """Return how many tokens the vocabulary lacks, and their share."""
    return {"tokens": part.unk_count, "share": part.unk_count / len(part)}


def _counts(corpus: Corpus, counted: list[NgramStatistics]) -> list[str]:
    lines = [
        f"{corpus.name}, {len(corpus):,} tokens by {corpus.level}",
        f"{'n':>2}{'different':>12}{'once':>12}  Zipf's exponent (ranks)  most frequent",
    ]
    for each in counted:
        fit = each.fit
        line = "-" if fit is None else f"{fit.exponent:.2f} ({fit.first} to {fit.last:,})"
        top = ", ".join(f"{_named(run, corpus.level)} {n:,}" for run, n in each.top[:_TOP])
        lines.append(f"{each.n:>2}{len(each.counts):>12,}{each.once:>12,}  {line:<25}{top}")
    return lines


def _named(run: tuple[str, ...], level: str) -> str:
    return "-".join(run) if level == "word" else repr("".join(run))


def _perplexities(numbers: dict[str, Any]) -> list[str]:
    share = numbers["unknown"]["held_out"]["share"]
    lines = [
        f"perplexity of the last {1 - TRAINING_SHARE:.0%}, {share:.1%} of it <unk>, "
        f"counted on the rest, vocabulary {numbers['vocab_size']:,}",
        f"{'n':<14}" + "".join(f"{n:>10}" for n in MODEL_ORDERS),
    ]
    for smoothing, found in numbers["perplexities"].items():
        lines.append(f"{smoothing:<14}" + "".join(f"{value:>10.2f}" for value in found.values()))
    return lines
