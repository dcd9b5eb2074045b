"""What is measured: each case by its subject, its sizes, and the engines it is for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from kseq.backend import ENGINES
from kseq.checks import one_of

SUBJECTS = ("training", "generation", "overhead", "start-up", "scaling")
CELLS = ("lstm", "gru", "simple_rnn")
# What --quick leaves out costs more time than it tells.
QUICK_SUBJECTS = ("training", "generation", "overhead", "start-up")
CLIFFS = (
    "plain",
    "mask",
    "go_backwards",
    "bidirectional",
    "dropout",
    "return_state",
    "mixed_bfloat16",
)
AXES = {
    "units": (64, 128, 256, 512),
    "num_layers": (1, 2, 3, 4),
    "batch_size": (1, 8, 32, 128),
    "num_steps": (9, 35, 140),
    "vocab_size": (28, 1000, 10000),
}


@dataclass(frozen=True)
class Case:
    """One thing to measure, by every contender that can do it.

    subject: one of `SUBJECTS`, or "layers" for the settings of a layer beside the plain one.
    name: what it is called in a report; unique within a run.
    unit: "tokens/s", the more the better, or "ms", the fewer the better.
    engines: those it is measured on.
    only: names of contenders, if not all.
    axis: the size that a curve grows along.
    """

    subject: str
    name: str
    cell: str = "lstm"
    units: int = 256
    num_layers: int = 2
    batch_size: int = 32
    num_steps: int = 35
    vocab_size: int = 28
    tied: bool = False
    dtype: str = "float32"
    unit: str = "tokens/s"
    engines: tuple[str, ...] = ENGINES
    only: tuple[str, ...] = ()
    axis: str = ""


def cases(
    subjects: Iterable[str] = SUBJECTS, cells: Iterable[str] = CELLS, quick: bool = False
) -> list[Case]:
    """Return the cases of a run, in the order in which they are measured.

    Raises:
        UsageError: an unknown subject or cell.

    Example:
        >>> [case.name for case in cases(["training"], ["gru"], quick=True)]
        ['training, gru']
    """
    chosen = [one_of("subjects", name, SUBJECTS) for name in subjects]
    cells = [one_of("cells", name, CELLS) for name in cells]
    found: list[Case] = []
    for subject in chosen:
        if subject in _CASES and not (quick and subject not in QUICK_SUBJECTS):
            found += _CASES[subject](cells, quick)
    return found


def _training(cells: list[str], quick: bool) -> list[Case]:
    plain = [Case("training", f"training, {cell}", cell) for cell in cells]
    return plain if quick else [*plain, *_more_training(cells), *_cliffs(cells)]


def _more_training(cells: list[str]) -> list[Case]:
    if "lstm" not in cells:
        return []
    torch = Case("training", "", engines=("torch",))
    wide = replace(torch, name="training, lstm 2 x 1024, batch 64", units=1024, batch_size=64)
    words = replace(
        torch,
        name="training, lstm 1 x 200, 10,000 words, tied",
        units=200,
        num_layers=1,
        vocab_size=10000,
        tied=True,
    )
    half = [
        replace(
            torch,
            name=f"training, {cell}, bfloat16",
            cell=cell,
            dtype="mixed_bfloat16",
            only=("kseq", "kseq, eager", "expert loop"),
        )
        for cell in cells
    ]
    return [wide, words, *half]


def _cliffs(cells: list[str]) -> list[Case]:
    """One layer alone, forwards and backwards, in settings that a fast path may leave out."""
    return [
        Case("layers", f"one layer, {cell}", cell, num_layers=1, unit="ms", engines=("torch",))
        for cell in cells
    ]


def _generation(cells: list[str], quick: bool) -> list[Case]:
    cell = "lstm" if "lstm" in cells else cells[0]
    # JAX and TensorFlow compile a step for each number of prompts, which takes a while.
    engines = _quick_engines(quick)
    one = Case("generation", f"generation, {cell}, one stream", cell, batch_size=1, engines=engines)
    return [
        one,
        replace(one, name=f"generation, {cell}, 64 prompts", batch_size=64),
        replace(one, name=f"first token, {cell}", unit="ms"),
    ]


def _overhead(cells: list[str], quick: bool) -> list[Case]:
    del cells
    return [
        Case(
            "overhead",
            "step of a 61-parameter perceptron",
            "mlp",
            batch_size=16,
            unit="ms",
            engines=_quick_engines(quick),
        )
    ]


def _quick_engines(quick: bool) -> tuple[str, ...]:
    return ("torch",) if quick else ENGINES


def _scaling(cells: list[str], quick: bool) -> list[Case]:
    del quick
    cell = "lstm" if "lstm" in cells else cells[0]
    plain = Case("scaling", "", cell, engines=("torch",), only=("kseq",))
    return [
        replace(plain, name=f"{cell}, {axis} {size}", axis=axis, **{axis: size})
        for axis, sizes in AXES.items()
        for size in sizes
    ]


_CASES = {
    "training": _training,
    "generation": _generation,
    "overhead": _overhead,
    "scaling": _scaling,
}
