"""What start-up and data cost: numbers from fresh processes, several of each."""

from __future__ import annotations

import time
from dataclasses import dataclass

from kseq.benchmark.processes import output_of

_CLOCK = "import time; began = time.perf_counter(); "
_TELL = "; print(1000 * (time.perf_counter() - began))"
_IMPORT = f"{_CLOCK}import kseq{_TELL}"
_USE = "kseq.LanguageModel(kseq.Vocab('ab'), units=8)"
# kseq chooses the engine before Keras is imported.
_FIRST_USE = f"import kseq, keras; {_CLOCK}{_USE}{_TELL}"


@dataclass(frozen=True)
class StartUp:
    """One number of a fresh process: what it is, its unit, and how to get it.

    whole: the number is how long the process lasts, not what it writes.
    slow: takes many seconds.
    """

    name: str
    unit: str
    words: tuple[str, ...]
    whole: bool = False
    slow: bool = False

    def value(self, engine: str, threads: int) -> float:
        """Start a process and return its number.

        Raises:
            WorkerError: the process did not end well.
        """
        return (_lasted if self.whole else _said)(self.words, engine, threads)


def start_ups(quick: bool) -> list[StartUp]:
    """Return what is measured, without the slow ones if it is to be quick.

    Example:
        >>> [each.name for each in start_ups(quick=True)][:2]
        ['kseq --help', 'import kseq']
    """
    return [each for each in _START_UPS if not (quick and each.slow)]


def _lasted(words: tuple[str, ...], engine: str, threads: int) -> float:
    began = time.perf_counter()
    output_of(words, engine, threads)
    return 1000 * (time.perf_counter() - began)


def _said(words: tuple[str, ...], engine: str, threads: int) -> float:
    return float(output_of(words, engine, threads).splitlines()[-1])


def _probe(name: str) -> tuple[str, ...]:
    return ("-m", "kseq.benchmark.probes", name)


_START_UPS = (
    StartUp("kseq --help", "ms", ("-m", "kseq", "--help"), whole=True),
    StartUp("import kseq", "ms", ("-c", _IMPORT)),
    StartUp("first use after import keras", "ms", ("-c", _FIRST_USE)),
    StartUp("text to ids", "MB/s", _probe("encoding")),
    StartUp("next batch, share of a step", "%", _probe("next-batch"), slow=True),
    StartUp("memory grown over 1,000 epochs", "MiB", _probe("memory-growth"), slow=True),
)
