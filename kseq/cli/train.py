"""`kseq train` and `kseq demo`: from a text to a model file, with its figures and a curve."""

from __future__ import annotations

import argparse
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from kseq.backend import engine
from kseq.backend.processes import check_data_parallel, check_place, data_parallel, place
from kseq.cli.engine import on_device
from kseq.cli.evaluate import unknown_in_words
from kseq.cli.folder import require_run_folder
from kseq.cli.printing import print_report
from kseq.cli.processes import speaks
from kseq.cli.progress import Progress
from kseq.cli.texts import prompts, training_texts
from kseq.data.corpora import Corpus
from kseq.data.reading import STANDARD_INPUT
from kseq.errors import UsageError
from kseq.runs.earlier import can_resume

DEMO = [
    *("story", "--batch-size", "16", "--dropout", "0.5"),
    *("--schedule", "one_cycle", "--learning-rate", "0.005"),
]
DEMO_EPOCHS = 20
PLATEAU_EPOCHS = 3


def demo(options: argparse.Namespace) -> None:
    """Train a two-layer LSTM on the bundled story, then the book's perceptron on the noisy sine.

    What an earlier demo left is replaced.
    """
    from kseq.cli.forecast import studied

    report, words = trained(_demo_settings(options))
    if not speaks():
        return
    if not options.json:
        print(words)
    report["forecast"], sine_words = studied(None, _sine_settings(options))
    print_report(report, f"\n{sine_words}", options.json)


def _demo_settings(options: argparse.Namespace) -> argparse.Namespace:
    epochs = options.epochs or DEMO_EPOCHS
    words = [f"--epochs={epochs}", f"--run-dir={options.run_dir}", f"--seed={options.seed}"]
    return _as_given(options, ["train", *DEMO, *words, f"--sample-every={epochs // 3}"])


def _sine_settings(options: argparse.Namespace) -> argparse.Namespace:
    folder = Path(options.run_dir) / "noisy-sine"
    return _as_given(options, ["forecast", f"--run-dir={folder}", f"--seed={options.seed}"])


def _as_given(options: argparse.Namespace, words: list[str]) -> argparse.Namespace:
    from kseq.cli.options import parse

    settings = parse([*words, "--overwrite"])
    for name in ("json", "quiet", "debug", "device"):
        setattr(settings, name, getattr(options, name))
    return settings


def train(options: argparse.Namespace) -> None:
    """Train as the options say; write model.keras, history.json and curve.png; report."""
    report, words = trained(options)
    if speaks():
        print_report(report, words, options.json)


def trained(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Train as the options say, write the files; return the report, and the same in words."""
    from kseq.cli.report import in_words, report_of, write_files

    _check_what_applies(options)
    sources = options.corpus or ["story"]
    run_dir = Path(options.run_dir or f"runs/{_run_name(sources)}-{options.cell}")
    check_place(options.batch_size)
    if speaks():
        require_run_folder(run_dir, options.resume, options.overwrite)
    parts = training_texts(sources, options)
    options.prompt = prompts(options, parts[0])
    began = time.perf_counter()
    quiet = options.quiet or not speaks()
    progress = Progress(options.epochs, quiet)
    with on_device(options.device), _devices(options), progress:
        _note_text(progress, *parts)
        model, run = _model_and_run(options, *parts, run_dir, progress)
        if not speaks():
            return {}, ""
        report = report_of(model, run, *parts, options.prompt, options)
        report["seconds"] = round(time.perf_counter() - began, 1)
        report["files"] = write_files(model, run, run_dir, report)
    return report, in_words(report)


def _model_and_run(
    options: argparse.Namespace,
    train_part: Corpus,
    held_out: Corpus | None,
    run_dir: Path,
    progress: Progress,
) -> tuple[Any, Any]:
    import kseq

    batches = _batches(options, train_part)
    model = _model(options, train_part, len(batches))
    progress.note(f"model: {model.count_params():,} parameters, {_engine()}")
    if options.resume and not can_resume(run_dir):
        progress.note(f"nothing to resume in {run_dir}: a new run begins")
    run = kseq.train(
        model,
        batches,
        options.epochs,
        validation=held_out,
        run_dir=run_dir,
        resume=options.resume,
        overwrite=options.overwrite,
        checkpoint_seconds=options.checkpoint_seconds,
        checkpoint_steps=options.checkpoint_steps,
        patience=options.patience,
        keep=options.keep,
        plateau=PLATEAU_EPOCHS if options.schedule == "plateau" else None,
        prompts=options.prompt,
        sample_every=options.sample_every,
        report=progress.show,
    )
    return model, run


def _check_what_applies(options: argparse.Namespace) -> None:
    if options.data_parallel:
        check_data_parallel()
    if STANDARD_INPUT in options.corpus and place().size > 1:
        raise UsageError(
            "corpus: must be files in several processes, found - (standard input, which only one "
            "can read); write the text to a file and name that"
        )
    if options.nonmonotone is not None and options.optimizer != "asgd":
        raise UsageError(
            f"--nonmonotone: must come with --optimizer asgd, found {options.optimizer}; leave it "
            "out, or choose asgd"
        )
    if options.num_steps_spread and options.batches == "random":
        raise UsageError(
            "--num-steps-spread: batches must be sequential for their lengths to be drawn, found "
            "--batches random; leave one of the two out"
        )


def _batches(options: argparse.Namespace, train_part: Corpus) -> Any:
    import kseq

    sizes = (train_part, options.batch_size, options.num_steps, options.seed)
    if options.batches == "random":
        return kseq.RandomBatches(*sizes)
    return kseq.SequentialBatches(*sizes, num_steps_spread=options.num_steps_spread)


def _model(options: argparse.Namespace, train_part: Corpus, steps_per_epoch: int) -> Any:
    import kseq
    from kseq.nn.optimizers import DEFAULT_LEARNING_RATES
    from kseq.nn.regularization import NAMES

    model = kseq.LanguageModel(
        train_part.vocab,
        cell=options.cell,
        units=options.units,
        num_layers=options.num_layers,
        embedding_dim=options.embedding_dim,
        tie_weights=options.tie_weights,
        **{name: getattr(options, name) for name in NAMES},
        init=options.init,
        seed=options.seed,
        dtype=options.dtype,
    )
    peak = options.learning_rate or DEFAULT_LEARNING_RATES[options.optimizer]
    rate = kseq.schedule(options.schedule, peak, steps_per_epoch * options.epochs)
    bounds = options.global_clipnorm, options.clipnorm
    more = {} if options.nonmonotone is None else {"nonmonotone": options.nonmonotone}
    model.compile(kseq.clipped_optimizer(options.optimizer, rate, *bounds, **more))
    return model


def _note_text(progress: Progress, train_part: Corpus, held_out: Corpus | None) -> None:
    unknown = unknown_in_words(train_part.unk_count, train_part.unk_count / len(train_part))
    rest = f"; {len(held_out):,} held out" if held_out is not None else ""
    progress.note(
        f"text: {train_part.name}, {len(train_part):,} tokens by {train_part.level}"
        f"{unknown}{rest}, vocabulary {len(train_part.vocab)}"
    )


def _devices(options: argparse.Namespace) -> AbstractContextManager[None]:
    return data_parallel(options.batch_size) if options.data_parallel else nullcontext()


def _engine() -> str:
    count = place().size
    return f"engine {engine()}" + (f", {count} processes" if count > 1 else "")


def _run_name(sources: list[str]) -> str:
    names = ["stdin" if source == "-" else Path(source).stem for source in sources]
    return "+".join(names)[:60] or "text"
