"""`kseq train` and `kseq demo`: from a text to a model file, with its figures and a curve."""

from __future__ import annotations

import argparse
import json
import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from kseq.cli.progress import Progress, clock
from kseq.data import windows
from kseq.data.corpora import Corpus, load_corpus
from kseq.data.files import atomic_path
from kseq.data.floors import ngram_floors
from kseq.errors import FileError, UsageError

DEMO = ["story", "--dropout", "0.3", "--schedule", "one_cycle", "--learning-rate", "0.01"]
DEMO_EPOCHS = 30


def demo(options: argparse.Namespace) -> None:
    """Train a two-layer LSTM on the bundled story; what an earlier demo left is replaced."""
    from kseq.cli.options import parse

    epochs = options.epochs or DEMO_EPOCHS
    words = ["--epochs", str(epochs), "--run-dir", options.run_dir, "--seed", str(options.seed)]
    settings = parse(["train", *DEMO, *words, "--overwrite", "--sample-every", str(epochs // 3)])
    for name in ("json", "quiet", "debug", "device"):
        setattr(settings, name, getattr(options, name))
    train(settings)


def train(options: argparse.Namespace) -> None:
    """Train as the options say; write model.keras, history.json and curve.png; report."""
    sources = options.corpus or ["story"]
    run_dir = Path(options.run_dir or f"runs/{_run_name(sources)}-{options.cell}")
    _check_run_dir(run_dir, options)
    progress = Progress(options.epochs, options.quiet)
    train_part, held_out = _parts(sources, options)
    _note_text(progress, train_part, held_out)
    began = time.perf_counter()
    with _device(options.device):
        model, run = _trained(options, train_part, held_out, run_dir, progress)
        report = _report(model, run, train_part, held_out, options)
    report["seconds"] = round(time.perf_counter() - began, 1)
    report["files"] = _write_files(model, run, run_dir, report)
    print(json.dumps(report, ensure_ascii=False) if options.json else _in_words(report))


def _parts(sources: list[str], options: argparse.Namespace) -> tuple[Corpus, Corpus | None]:
    """Return the training text and the held-out text, both long enough."""
    corpus = load_corpus(
        sources if len(sources) > 1 else sources[0],
        level=options.level,
        cleaning=options.cleaning,
        separator=options.separator,
        encoding=options.encoding,
        min_freq=options.min_freq,
        max_vocab=options.max_vocab,
        data_dir=options.data_dir,
    )
    train_part, held_out = _divided(corpus, options)
    sizes = (options.batch_size, options.num_steps)
    windows.num_batches(len(train_part), *sizes, name=f"{corpus.name}, training part")
    if held_out is not None:
        windows.evaluation_layout(len(held_out), *sizes)
    return train_part, held_out


def _divided(corpus: Corpus, options: argparse.Namespace) -> tuple[Corpus, Corpus | None]:
    if options.max_tokens is not None or isinstance(options.valid, int):
        return corpus.divide(options.max_tokens, _held_out_tokens(options))
    return corpus.split(1 - options.valid) if options.valid else (corpus, None)


def _held_out_tokens(options: argparse.Namespace) -> int:
    if isinstance(options.valid, int):
        return options.valid
    return round(options.max_tokens * options.valid / (1 - options.valid))


def _trained(
    options: argparse.Namespace,
    train_part: Corpus,
    held_out: Corpus | None,
    run_dir: Path,
    progress: Progress,
) -> tuple[Any, Any]:
    import kseq

    make = kseq.SequentialBatches if options.batches == "sequential" else kseq.RandomBatches
    batches = make(train_part, options.batch_size, options.num_steps, seed=options.seed)
    model = _model(options, train_part, len(batches))
    progress.note(f"model: {model.count_params():,} parameters, engine {_engine()}")
    run = kseq.train(
        model,
        batches,
        options.epochs,
        validation=held_out,
        run_dir=run_dir,
        resume=options.resume,
        patience=options.patience,
        keep=options.keep,
        plateau=PLATEAU_EPOCHS if options.schedule == "plateau" else None,
        prompts=_prompts(options, train_part),
        sample_every=options.sample_every,
        report=progress.show,
    )
    return model, run


def _model(options: argparse.Namespace, train_part: Corpus, steps_per_epoch: int) -> Any:
    import kseq
    from kseq.nn.optimizers import DEFAULT_LEARNING_RATES

    model = kseq.LanguageModel(
        train_part.vocab,
        cell=options.cell,
        units=options.units,
        num_layers=options.num_layers,
        embedding_dim=options.embedding_dim,
        tie_weights=options.tie_weights,
        dropout=options.dropout,
        init=options.init,
        seed=options.seed,
    )
    peak = options.learning_rate or DEFAULT_LEARNING_RATES[options.optimizer]
    rate = kseq.schedule(options.schedule, peak, steps_per_epoch * options.epochs)
    model.compile(
        kseq.clipped_optimizer(options.optimizer, rate, options.global_clipnorm, options.clipnorm)
    )
    return model


PLATEAU_EPOCHS = 3


def _report(
    model: Any, run: Any, train_part: Corpus, held_out: Corpus | None, options: argparse.Namespace
) -> dict[str, Any]:
    kept = run.records[(run.best_epoch if options.keep == "best" else len(run.records)) - 1]
    speeds = sorted(record["tokens_per_second"] for record in run.records)
    report = {
        "corpus": train_part.name,
        "cell": options.cell,
        "parameters": model.count_params(),
        "epochs": len(run.records),
        "epoch": kept["epoch"],
        "training": {
            "tokens": len(train_part),
            **{name: kept[name] for name in ("loss", "perplexity")},
            "floors": ngram_floors(train_part).to_dict(),
        },
        "tokens_per_second": speeds[len(speeds) // 2],
        "skipped_steps": run.records[-1]["skipped_steps"],
        "samples": model.generate(_prompts(options, train_part), 50),
    }
    if held_out is not None:
        report["held_out"] = measured(model, held_out, options.batch_size, options.num_steps)
        report["held_out"]["floors"] = ngram_floors(train_part, held_out).to_dict()
        best = run.records[run.best_epoch - 1]
        report["best"] = {"epoch": run.best_epoch, "val_perplexity": best["val_perplexity"]}
    return report


def measured(model: Any, corpus: Corpus, batch_size: int, num_steps: int) -> dict[str, Any]:
    """Return tokens, loss, perplexity and bits per token of a model on a text."""
    import math

    import kseq

    layout = windows.evaluation_layout(len(corpus), batch_size, num_steps)
    batches = kseq.SequentialBatches(corpus, *layout, seed=None)
    loss, perplexity = model.evaluate(batches, verbose=0)[:2]
    return {
        "tokens": batches.tokens_per_epoch,
        "loss": loss,
        "perplexity": perplexity,
        "bits_per_token": loss / math.log(2),
    }


def _write_files(model: Any, run: Any, run_dir: Path, report: dict[str, Any]) -> dict[str, str]:
    from kseq.figures import plot_training

    files = {"model": run_dir / "model.keras", "curve": run_dir / "curve.png"}
    model.save(files["model"])
    with atomic_path(files["curve"]) as part:
        plot_training(run.records, _floors_drawn(report)).savefig(part, dpi=150)
    return {name: str(path) for name, path in files.items()} | {
        "history": str(run_dir / "history.json")
    }


def _floors_drawn(report: dict[str, Any]) -> dict[str, float]:
    judged = report.get("held_out") or report["training"]
    return judged["floors"]


def _in_words(report: dict[str, Any]) -> str:
    lines = ["", f"{'perplexity':14}{'model':>9}{'bigram':>9}{'unigram':>9}{'uniform':>9}"]
    for name in ("training", "held_out"):
        if name in report:
            part = report[name]
            floors = part["floors"]
            values = (part["perplexity"], floors["bigram"], floors["unigram"], floors["uniform"])
            lines.append(f"{name.replace('_', '-'):14}" + "".join(f"{v:9.2f}" for v in values))
    if "held_out" in report:
        lines.append(f"held-out bits per token {report['held_out']['bits_per_token']:.3f}")
    lines.append(
        f"epoch {report['epoch']} of {report['epochs']}, "
        f"{report['tokens_per_second']:,.0f} tokens/s, {clock(report['seconds'])} in all"
    )
    lines += ["", *(f"  {sample}" for sample in report["samples"]), ""]
    lines += [f"{name:8}{path}" for name, path in report["files"].items()]
    return "\n".join(lines)


def _note_text(progress: Progress, train_part: Corpus, held_out: Corpus | None) -> None:
    unknown = f", {train_part.unk_count:,} of them <unk>" if train_part.unk_count else ""
    rest = f"; {len(held_out):,} held out" if held_out is not None else ""
    progress.note(
        f"text: {train_part.name}, {len(train_part):,} tokens by {train_part.level}"
        f"{unknown}{rest}, vocabulary {len(train_part.vocab)}"
    )


def _prompts(options: argparse.Namespace, train_part: Corpus) -> list[str]:
    """The prompts asked for, or the first words of the text."""
    if options.prompt:
        return options.prompt
    words = train_part.decode(train_part.ids[:200]).split()[:3]
    return [" ".join(words) + ("" if train_part.level == "word" else " ")]


def _run_name(sources: list[str]) -> str:
    names = ["stdin" if source == "-" else Path(source).stem for source in sources]
    return "+".join(names)[:80] or "text"


def _check_run_dir(run_dir: Path, options: argparse.Namespace) -> None:
    if options.resume and options.overwrite:
        raise UsageError("--resume: must stand without --overwrite, found both; choose one")
    if (run_dir / "settings.json").exists() and not (options.resume or options.overwrite):
        raise UsageError(
            f"{run_dir}: must not hold an earlier run, found one; pass --resume to go on, "
            "--overwrite to replace it, or another --run-dir"
        )
    if options.overwrite and (run_dir / "settings.json").exists():
        shutil.rmtree(run_dir)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        with atomic_path(run_dir / ".writable"):
            pass
        (run_dir / ".writable").unlink()
    except OSError as error:
        raise FileError(
            f"{run_dir}: the run folder must be writable, found {error.strerror or error}; "
            "choose another --run-dir"
        ) from error


def _device(name: str | None) -> Any:
    from kseq import backend

    backend.require_engine()
    return nullcontext() if name is None else backend.on_device(backend.find_device(name))


def _engine() -> str:
    from kseq import backend

    return backend.engine()
