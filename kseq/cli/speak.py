"""`kseq evaluate`, `generate`, `inspect` and `devices`: what a trained model is asked."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from kseq.cli.train import _device, measured
from kseq.data.corpora import Corpus, load_corpus
from kseq.data.floors import ngram_floors
from kseq.errors import DataError, UsageError


def evaluate(options: argparse.Namespace) -> None:
    """Print loss, perplexity and bits per token of a model on a text, beside the floors."""
    import kseq

    with _device(options.device):
        model = kseq.load_model(options.model)
        corpus = _text_for(model, options)
        report = {"model": options.model, "corpus": corpus.label}
        report |= measured(model, corpus, options.batch_size, options.num_steps)
    report["floors"] = ngram_floors(corpus).to_dict()
    print(json.dumps(report) if options.json else _measured_in_words(report))


def generate(options: argparse.Namespace) -> None:
    """Print the prompt and its continuation, as it is drawn."""
    from kseq.generation import Sampling

    names = ("temperature", "top_k", "top_p", "seed")
    sampling = {name: getattr(options, name) for name in names}
    Sampling(**sampling)
    import kseq

    with _device(options.device):
        model = kseq.load_model(options.model)
        _note_clamped(options, len(model.vocab))
        pieces = model.stream(
            options.prompt, options.length, stop=options.stop, unknown=options.unknown, **sampling
        )
        _write_pieces(pieces, options)


def inspect(options: argparse.Namespace) -> None:
    """Print what a model file says of itself."""
    from kseq.saving import inspect_model

    facts = inspect_model(options.model)
    print(json.dumps(facts, ensure_ascii=False) if options.json else _facts_in_words(facts))


def devices(options: argparse.Namespace) -> None:
    """Print the devices the engine sees, the one used by default first."""
    from dataclasses import asdict

    from kseq import backend

    found = backend.devices()
    if options.json:
        print(json.dumps({"engine": backend.engine(), "devices": [asdict(d) for d in found]}))
        return
    print(f"engine {backend.engine()}")
    for device in found:
        memory = f"{device.memory / 2**20:,.0f} MiB" if device.memory else ""
        print(f"{device.name:8} {device.kind:4} {memory:>12} {device.model}".rstrip())


def _text_for(model: Any, options: argparse.Namespace) -> Corpus:
    """The text asked for, or what the model's own text held out, as the model reads it."""
    facts = model.provenance.corpus
    if facts is None and not options.corpus:
        raise UsageError(
            "corpus: must be named for a model that does not say what it was trained on, "
            "found none; name a text"
        )
    facts = facts or {"level": model.level, "cleaning": None, "separator": None}
    sources = options.corpus or facts["name"].split("+")
    corpus = load_corpus(
        sources if len(sources) > 1 else sources[0],
        level=facts["level"],
        cleaning=facts["cleaning"],
        separator=facts["separator"],
        encoding=options.encoding,
        data_dir=options.data_dir,
    )
    corpus = corpus.with_vocab(model.vocab)
    return corpus if options.corpus else _held_out_of(corpus, facts)


def _held_out_of(corpus: Corpus, facts: dict[str, Any]) -> Corpus:
    if corpus.sha256 != facts["sha256"]:
        raise DataError(
            f"{facts['name']}: must be the text the model was trained on, found another of that "
            "name; name the text to evaluate on"
        )
    if facts["stop"] >= facts["total"]:
        raise DataError(
            f"{facts['name']}: must have a part the model has not seen, found all of it used in "
            "training; name another text"
        )
    return corpus.after(facts["stop"])


def _write_pieces(pieces: Any, options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps({"prompt": options.prompt, "text": "".join(pieces)}, ensure_ascii=False))
        return
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


def _note_clamped(options: argparse.Namespace, vocab_size: int) -> None:
    if options.top_k is not None and options.top_k > vocab_size and not options.quiet:
        print(f"kseq: note: --top-k {options.top_k} is all {vocab_size} symbols", file=sys.stderr)


def _measured_in_words(report: dict[str, Any]) -> str:
    floors: dict[str, float] = report["floors"]
    beside = ", ".join(f"{name} {value:.2f}" for name, value in floors.items())
    return "\n".join(
        [
            f"{report['corpus']}: {report['tokens']:,} tokens",
            f"perplexity {report['perplexity']:.3f} (guessing: {beside})",
            f"loss {report['loss']:.4f} nats, {report['bits_per_token']:.4f} bits per token",
        ]
    )


def _facts_in_words(facts: dict[str, Any]) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in facts["settings"].items())
    provenance = facts["provenance"]
    corpus = provenance["corpus"] or {"name": "no corpus", "start": 0, "stop": 0, "sha256": "-"}
    results = [f"{name} {value:.4f}" for name, value in provenance["results"].items()]
    rows: Sequence[tuple[str, Any]] = [
        ("file", f"{facts['file']}, {facts['bytes'] / 2**20:.2f} MiB"),
        ("model", f"{facts['kind']}: {settings}"),
        ("size", f"{facts['parameters']:,} parameters, vocabulary {facts['vocab_size']}"),
        ("text", f"{corpus['name']}, tokens {corpus['start']}-{corpus['stop']}"),
        ("sha256", corpus["sha256"]),
        ("trained", f"{provenance['epochs']} epochs; " + ", ".join(results)),
        ("saved", f"{facts['date_saved']}, Keras {facts['keras_version']}"),
    ]
    return "\n".join(f"{name:8}{value}" for name, value in rows)
