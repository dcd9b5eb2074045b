"""What a training has reached: figures for a script, a table for a person, and the files."""

from __future__ import annotations

import argparse
import statistics
import textwrap
from pathlib import Path
from typing import Any

from kseq import backend
from kseq.cli.evaluate import documents_in_words, measured, measured_each
from kseq.cli.pictures import write_picture
from kseq.cli.progress import clock
from kseq.data.corpora import Corpus
from kseq.data.floors import ngram_floors
from kseq.version import __version__

_SETTINGS = ("cell", "units", "num_layers", "dropout", "batches", "batch_size", "num_steps")
SAMPLE_TOKENS, DRAWN_TOKENS, TEMPERATURE = 50, 80, 0.6


def report_of(
    model: Any,
    run: Any,
    train_part: Corpus,
    held_out: Corpus | None,
    prompts: list[str],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Return the figures of a training, those of the epoch whose weights the model has first."""
    from kseq.nn.regularization import changed_names

    kept = run.records[(run.best_epoch if options.keep == "best" else len(run.records)) - 1]
    speeds = sorted(record["tokens_per_second"] for record in run.records)
    report = {
        "corpus": train_part.name,
        "kseq": __version__,
        "engine": backend.engine(),
        **{name: getattr(options, name) for name in (*_SETTINGS, "optimizer", "seed")},
        **changed_names(vars(options)),
        "vocab_size": len(train_part.vocab),
        "parameters": model.count_params(),
        "epochs": len(run.records),
        "stopped_early": run.stopped_early,
        "epoch": kept["epoch"],
        "training": _training(kept, train_part) | {"settled_perplexity": _settled(run.records)},
        "tokens_per_second": speeds[len(speeds) // 2],
        "skipped_steps": run.records[-1]["skipped_steps"],
        "samples": model.generate(prompts, SAMPLE_TOKENS),
        "drawn": model.generate(prompts, DRAWN_TOKENS, temperature=TEMPERATURE, seed=options.seed),
    }
    if held_out is not None:
        sizes = (options.batch_size, options.num_steps)
        report["held_out"] = measured(model, held_out, *sizes)
        report["held_out"]["documents"] = measured_each(model, held_out, *sizes)
        report["held_out"]["floors"] = ngram_floors(train_part, held_out).to_dict()
        best = run.records[run.best_epoch - 1]
        report["best"] = {"epoch": run.best_epoch, "val_perplexity": best["val_perplexity"]}
    return report


def _training(kept: dict[str, Any], train_part: Corpus) -> dict[str, Any]:
    return {
        "tokens": len(train_part),
        "unknown": train_part.unk_count,
        "unknown_share": train_part.unk_count / len(train_part),
        "loss": kept["loss"],
        "perplexity": kept["perplexity"],
        "floors": ngram_floors(train_part).to_dict(),
    }


def _settled(records: list[dict[str, Any]]) -> float:
    """The median over the last 20 epochs: SGD at a high rate jumps now and then."""
    return statistics.median(record["perplexity"] for record in records[-20:])


def write_files(model: Any, run: Any, run_dir: Path, report: dict[str, Any]) -> dict[str, str]:
    """Write model.keras and curve.png; return where they and the history are."""
    from kseq.figures import plot_training

    files = {"model": run_dir / "model.keras", "curve": run_dir / "curve.png"}
    model.save(files["model"])
    judged = report.get("held_out") or report["training"]
    write_picture(plot_training(run.records, judged["floors"]), files["curve"])
    return {name: str(path) for name, path in files.items()} | {
        "history": str(run_dir / "history.json")
    }


def in_words(report: dict[str, Any]) -> str:
    """Return a report as a table of perplexities, with samples and files below it."""
    lines = [f"{'perplexity':14}{'model':>9}{'bigram':>9}{'unigram':>9}{'uniform':>9}"]
    lines += [_row(name, report[name]) for name in ("training", "held_out") if name in report]
    if "held_out" in report:
        lines.append(f"held-out bits per token {report['held_out']['bits_per_token']:.3f}")
        lines += documents_in_words(report["held_out"]["documents"])
    lines += _unknown(report)
    lines.append(
        f"epoch {report['epoch']} of {report['epochs']}, "
        f"{report['tokens_per_second']:,.0f} tokens/s, {clock(report['seconds'])} in all"
    )
    lines += ["", "likeliest", *_quoted(report["samples"])]
    lines += [f"drawn at temperature {TEMPERATURE}", *_quoted(report["drawn"]), ""]
    lines += [f"{name:8}{path}" for name, path in report["files"].items()]
    return "\n".join(lines)


def _unknown(report: dict[str, Any]) -> list[str]:
    """Say how much of the text the vocabulary lacks: guessing <unk> makes a perplexity small."""
    parts = {name: report[name] for name in ("training", "held_out") if name in report}
    if not any(part["unknown"] for part in parts.values()):
        return []
    each = [f"{name.replace('_', '-')} {part['unknown_share']:.1%}" for name, part in parts.items()]
    return ["<unk>: " + ", ".join(each)]


def _quoted(texts: list[str]) -> list[str]:
    return [textwrap.indent(text, "  | ") for text in texts]


def _row(name: str, part: dict[str, Any]) -> str:
    floors = part["floors"]
    values = (part["perplexity"], floors["bigram"], floors["unigram"], floors["uniform"])
    return f"{name.replace('_', '-'):14}" + "".join(f"{value:9.2f}" for value in values)
