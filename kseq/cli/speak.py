"""`kseq generate` and `kseq inspect`: what a model file says, of a prompt and of itself."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from kseq.cli.engine import on_device
from kseq.cli.printing import print_report, printable, say

# Documents of a corpus that may have thousands.
_MOST_TOLD = 10


def generate(options: argparse.Namespace) -> None:
    """Print the prompt and its continuation, as it is drawn."""
    from kseq.generation import Sampling

    names = ("temperature", "top_k", "top_p", "seed")
    sampling = {name: getattr(options, name) for name in names}
    Sampling(**sampling)
    import kseq
    from kseq.saving import check_model_file

    # A bad file is refused before an engine takes seconds to start.
    check_model_file(options.model, kind="LanguageModel")
    with on_device(options.device):
        model = kseq.load_model(options.model, kind="LanguageModel")
        _note_clamped(options, len(model.vocab))
        pieces = model.stream(
            options.prompt, options.length, stop=options.stop, unknown=options.unknown, **sampling
        )
        if options.json:
            text = "".join(pieces)
            report = {"model": options.model, "prompt": options.prompt, "text": text, **sampling}
            print_report(report, text, as_json=True)
            return
        for piece in pieces:
            print(printable(piece), end="", flush=True)
        print()


def inspect(options: argparse.Namespace) -> None:
    """Print what a model file says of itself."""
    from kseq.saving import inspect_model

    facts = inspect_model(options.model)
    print_report(facts, _facts_in_words(facts), options.json)


def _note_clamped(options: argparse.Namespace, vocab_size: int) -> None:
    if options.top_k is not None and options.top_k > vocab_size and not options.quiet:
        say(f"kseq: note: --top-k {options.top_k} is all {vocab_size} symbols")


def _facts_in_words(facts: dict[str, Any]) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in facts["settings"].items())
    provenance = facts["provenance"] or {}
    rows: Sequence[tuple[str, str]] = [
        ("file", f"{facts['file']}, {facts['bytes'] / 2**20:.2f} MiB"),
        ("model", f"{facts['kind']}: {settings}"),
        ("size", f"{facts['parameters']:,} parameters{_vocabulary(facts)}"),
        *_source_in_words(facts["kind"], provenance),
        ("trained", _training_in_words(provenance)),
        ("saved", f"{facts['date_saved']}, Keras {facts['keras_version']}"),
    ]
    return "\n".join(f"{name:8}{_printable(value)}" for name, value in rows)


def _printable(value: str) -> str:
    # A name in a file may hold what moves a terminal's cursor.
    return "".join(letter if letter.isprintable() else "?" for letter in value)


def _vocabulary(facts: dict[str, Any]) -> str:
    return "" if facts["vocab_size"] is None else f", vocabulary {facts['vocab_size']}"


def _source_in_words(kind: str, provenance: dict[str, Any]) -> list[tuple[str, str]]:
    if kind != "Forecaster":
        return _text_in_words(provenance.get("corpus"))
    series = provenance.get("series")
    if series is None:
        return [("series", "unknown")]
    told = _Told(series)
    parts = f"points 0 to {told['train']} of {told['points']}"
    return [("series", f"{told['name']}, column {told['column']}, {parts}")]


def _text_in_words(corpus: dict[str, Any] | None) -> list[tuple[str, str]]:
    if corpus is None:
        return [("text", "unknown")]
    told = _Told(corpus)
    tokens = f"tokens {told['start']} to {told['stop']} of {told['total']}"
    return [
        ("text", f"{told['name']} by {told['level']}, cleaning {told['cleaning']}, {tokens}"),
        *_documents_in_words(corpus),
        ("sha256", told["sha256"]),
    ]


def _documents_in_words(corpus: dict[str, Any]) -> list[tuple[str, str]]:
    """Name each document that was trained on, and which tokens of the whole text it gave."""
    names, places = corpus.get("documents"), corpus.get("pieces")
    if not isinstance(names, list) or not isinstance(places, list) or len(names) < 2:
        return []
    numbers = [f"{place:,}" if isinstance(place, int) else "unknown" for place in places]
    told = [
        f"{name} {start} to {stop}"
        for name, start, stop in zip(names, numbers[::2], numbers[1::2], strict=False)
    ]
    rest = [f"{len(told) - _MOST_TOLD:,} more"] if len(told) > _MOST_TOLD else []
    return [("tokens", "; ".join(told[:_MOST_TOLD] + rest))]


class _Told:
    """The facts of a file in words; what it does not tell is unknown."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts

    def __getitem__(self, name: str) -> str:
        value = self.facts.get(name, "unknown")
        return f"{value:,}" if isinstance(value, int) else str(value)


def _training_in_words(provenance: dict[str, Any]) -> str:
    results = dict(provenance.get("results", {}))
    weights = [f"weights of epoch {results.pop('epoch'):.0f}"] if "epoch" in results else []
    figures = [f"{name} {value:.4f}" for name, value in results.items()]
    return ", ".join([f"{provenance.get('epochs', 0)} epochs", *weights, *figures])
