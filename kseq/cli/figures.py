"""`kseq figures`: the pictures of the lessons, and the numbers behind them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kseq import backend
from kseq.checks import non_negative_int, one_of
from kseq.cli import ngrams
from kseq.cli.engine import on_device
from kseq.cli.folder import require_free
from kseq.cli.forecast_options import LESSONS, LONG_LESSONS
from kseq.cli.pictures import picture_files, write_pictures
from kseq.cli.printing import print_report, say
from kseq.cli.progress import Progress, perplexity_line
from kseq.data.files import made_folder
from kseq.version import __version__

# Cell, gain of the recurrent matrix, bias of the gate that keeps the old state: what gates do is
# seen beside a matrix through which a plain RNN forgets.
CASES: tuple[tuple[str, float, float | None], ...] = (
    ("simple_rnn", 0.5, None),
    ("simple_rnn", 1.0, None),
    ("simple_rnn", 1.5, None),
    ("gru", 0.5, 0.0),
    ("gru", 0.5, 3.0),
    ("lstm", 0.5, -1.0),
    ("lstm", 0.5, 1.0),
    ("lstm", 0.5, 3.0),
)
STEPS_BACK = (1, 10, 50, 99)
BOOK_TOKENS = 10_000

# A picture, the figures for a script, and a table for a person.
Drawn = tuple[Any, Any, list[str]]


def figures(options: argparse.Namespace) -> None:
    """Draw the pictures that are named, or all, as PNG and SVG; print the numbers behind them.

    Raises:
        UsageError: an unknown name, or a file that exists and may not be replaced.
        FileError: the folder cannot be made or written to.
    """
    report, words = drawn(options)
    print_report(report, words, options.json)


def drawn(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Draw the pictures, write their files; return the numbers, and the same in words."""
    known = (*LESSONS, *LONG_LESSONS)
    names = [one_of("figures", name, known) for name in dict.fromkeys(options.names or LESSONS)]
    seed, out = non_negative_int("--seed", options.seed), Path(options.out)
    outputs = [file.name for name in names for file in picture_files(out, name)]
    require_free(out, outputs, options.overwrite, option="--out")
    report: dict[str, Any] = {"kseq": __version__, "engine": backend.engine(), "seed": seed}
    words: list[str] = []
    with on_device(options.device), made_folder(out):
        for name in names:
            report[name], lines = _draw(name, options, out)
            words += [*lines, *(f"  {file}" for file in report[name]["files"]), ""]
    return report, "\n".join(words[:-1])


def _draw(name: str, options: argparse.Namespace, out: Path) -> tuple[dict[str, Any], list[str]]:
    start = time.perf_counter()
    figure, numbers, lines = _DRAW[name](options)
    write_pictures({name: figure}, out)
    files = [str(file) for file in picture_files(out, name)]
    if not options.quiet:
        seconds = time.perf_counter() - start
        say(f"kseq: note: {name} drawn in {seconds:.1f} s")
    return {"files": files, "numbers": numbers}, lines


def _gradients(options: argparse.Namespace) -> Drawn:
    from kseq.figures.gradients import plot_state_gradients
    from kseq.nn.through_time import state_gradients

    found = [
        state_gradients(cell, gain=gain, gate_bias=bias, seed=options.seed)
        for cell, gain, bias in CASES
    ]
    lines = [_row("|dL/dh| steps back", "gain", "bias", *map(str, STEPS_BACK))]
    for result in found:
        lines.append(_gradient_row(result, result.cell, result.norms))
        if result.cell_norms is not None:
            lines.append(_gradient_row(result, f"{result.cell}, |dL/dc|", result.cell_norms))
    return plot_state_gradients(found), [_plain(asdict(result)) for result in found], lines


def _gradient_row(result: Any, label: str, norms: Any) -> str:
    bias = "" if result.gate_bias is None else f"{result.gate_bias:g}"
    return _row(label, f"{result.gain:g}", bias, *(_small(norms[-1 - k]) for k in STEPS_BACK))


def _clipping(options: argparse.Namespace) -> Drawn:
    from kseq.figures.gradients import plot_clipping
    from kseq.nn.clipping import clipping

    result = clipping(seed=options.seed)
    lines = [_row("clipping", "loss", "last loss", "highest", "|g|", "applied", "skipped")]
    for label, run in ((f"at {result.bound:g}", result.clipped), ("none", result.free)):
        largest = (run.loss.max(), run.before.max(), run.after.max())
        values = map(_small, (run.loss[0], run.loss[-1], *largest))
        lines.append(_row(label, *values, str(run.skipped)))
    return plot_clipping(result), _plain(asdict(result)), lines


def _truncation(options: argparse.Namespace) -> Drawn:
    from kseq.figures.gradients import plot_truncation
    from kseq.nn.through_time import truncation

    result = truncation(seed=options.seed)
    ways = {"full": result.full, "regular": result.regular, "random": result.random}
    lines = [
        _row("truncation", "cosine", "norm", "bias", "deviation", "steps"),
        *(_row(way, *map(_small, asdict(found).values())) for way, found in ways.items()),
    ]
    # The picture shows the errors of thousands of draws; the last is the random way's bias.
    numbers = {name: value for name, value in asdict(result).items() if name != "errors"}
    return plot_truncation(result), numbers | {"draws": len(result.errors)}, lines


def _plain(value: Any) -> Any:
    """Return nested dictionaries with arrays as lists."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value


def _small(value: float) -> str:
    return f"{value:.3g}"


def _row(label: str, *values: str) -> str:
    return f"{label:20}" + "".join(f"{value:>10}" for value in values)


def _seeing_ahead(options: argparse.Namespace) -> Drawn:
    from kseq.data.corpora import load_corpus
    from kseq.experiments.seeing_ahead import EPOCHS, seeing_ahead
    from kseq.figures import plot_losses

    corpus = load_corpus("time_machine", separator="", data_dir=options.data_dir)
    trained_on, _ = corpus.divide(BOOK_TOKENS, 0)
    epochs = options.epochs or EPOCHS
    with Progress(epochs, options.quiet, line=perplexity_line) as progress:
        found = seeing_ahead(trained_on, epochs=epochs, seed=options.seed, report=progress.show)
    floors = {"future withheld": found.withheld, "bigram guessing": found.bigram}
    records = [{"epoch": each["epoch"], "loss": each["perplexity"]} for each in found.records]
    numbers = {
        "perplexity": found.perplexity,
        "withheld": found.withheld,
        "bigram": found.bigram,
        "text": found.text,
        "parameters": found.parameters,
        "epochs": epochs,
    }
    lines = [
        _row("perplexity", "seen", "withheld", "bigrams"),
        _row("seeing-ahead", *map(_small, (found.perplexity, found.withheld, found.bigram))),
        f"  | {found.text}",
    ]
    return plot_losses(records, floors, "perplexity"), numbers, lines


_DRAW: dict[str, Callable[[argparse.Namespace], Drawn]] = {
    "gradients": _gradients,
    "clipping": _clipping,
    "truncation": _truncation,
    "ngrams": ngrams.drawn,
    "seeing-ahead": _seeing_ahead,
}
