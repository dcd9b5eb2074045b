"""What came of a benchmark: rows of medians and spreads, failures, and what it ran on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from kseq.benchmark.cases import Case
from kseq.benchmark.measuring import Spread, in_unit

# What a contender is held against, each in torch's process; the settings of a layer, to the plain.
YARDSTICKS = ("d2l loop", "expert loop", "products alone", "plain")
BEST_OF_KERAS = "best of Keras"
MORE_IS_BETTER = ("tokens/s", "MB/s")

Values = list[tuple[float, float]]  # amount and seconds of each round


@dataclass(frozen=True)
class Row:
    """One contender in one case.

    median, min, max: over the rounds, in `unit`.
    ratios: how many times as good as each yardstick, medians compared; above 1 is better,
        whatever the unit.
    axis, size: of a curve, the size that grows and where it stands.
    """

    subject: str
    case: str
    engine: str
    contender: str
    unit: str
    median: float
    min: float
    max: float
    rounds: int
    ratios: dict[str, float] = field(default_factory=dict)
    cell: str = ""
    axis: str = ""
    size: int | None = None


@dataclass(frozen=True)
class Failure:
    """A contender that could not be measured, and why."""

    case: str
    engine: str
    contender: str
    cause: str


@dataclass
class Result:
    """A whole benchmark.

    machine: processor, cores, system.  versions: of Python, kseq, Keras and the engines.
    threads: cores each engine might use.  rounds, seconds: how often and how long at least.
    skipped: engines that are not installed.
    """

    machine: dict[str, str | int]
    versions: dict[str, str]
    threads: int
    rounds: int
    seconds: float
    rows: list[Row] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def add(self, case: Case, measured: Mapping[tuple[str, str], Values]) -> None:
        """Add what every contender of a case did, by engine and name."""
        spreads = {
            key: Spread.of([in_unit(*value, case.unit) for value in values])
            for key, values in measured.items()
        }
        medians = {key: spread.median for key, spread in spreads.items()}
        size = getattr(case, case.axis) if case.axis else None
        for (engine, contender), spread in spreads.items():
            self.rows.append(
                Row(
                    case.subject,
                    case.name,
                    engine,
                    contender,
                    case.unit,
                    **asdict(spread),
                    rounds=len(measured[engine, contender]),
                    ratios=ratios(spread.median, medians, case.unit),
                    cell=case.cell,
                    axis=case.axis,
                    size=size,
                )
            )

    def add_values(
        self,
        subject: str,
        case: str,
        engine: str,
        contender: str,
        unit: str,
        values: Sequence[float],
    ) -> None:
        """Add numbers that are in their unit already."""
        spread = asdict(Spread.of(values))
        self.rows.append(Row(subject, case, engine, contender, unit, **spread, rounds=len(values)))

    def fail(self, case: str, engine: str, contender: str, cause: str) -> None:
        """Note that a contender could not be measured."""
        self.failures.append(Failure(case, engine, contender, cause))

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain dictionaries and lists, for JSON."""
        return asdict(self)


def ratios(value: float, medians: Mapping[tuple[str, str], float], unit: str) -> dict[str, float]:
    """Return how many times as good `value` is as each yardstick there is; above 1 is better.

    medians: of all contenders of the case, by engine and name.

    Example:
        >>> ratios(2.0, {("torch", "d2l loop"): 4.0, ("jax", "keras"): 1.0}, "ms")
        {'d2l loop': 2.0, 'best of Keras': 0.5}
    """
    more = unit in MORE_IS_BETTER
    held = {name: medians["torch", name] for name in YARDSTICKS if ("torch", name) in medians}
    of_keras = [median for (_, name), median in medians.items() if name == "keras"]
    if of_keras:
        held[BEST_OF_KERAS] = max(of_keras) if more else min(of_keras)
    return {name: value / other if more else other / value for name, other in held.items()}
