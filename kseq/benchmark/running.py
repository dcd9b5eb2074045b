"""A benchmark from its plan to its result: round after round, every contender once a round.

A disturbed minute then falls on all of them.  The processes of the engines live side by side, and
only one works at a time: threads that wait for each other on a shared core wait a thousand times
as long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from typing import Any

from kseq.backend import ENGINES
from kseq.benchmark.cases import CELLS, SUBJECTS, Case, cases
from kseq.benchmark.machine import machine, usable_cores, versions
from kseq.benchmark.processes import WorkerError, WorkerProcess, workers
from kseq.benchmark.result import Result, Values
from kseq.benchmark.start_up import StartUp, start_ups
from kseq.checks import one_of, positive_float, positive_int
from kseq.errors import UsageError

# Of two cores: an engine's import, a contender made ready and warm, a fresh process.
_IMPORT, _OPEN, _FRESH = 12.0, 9.0, 2.0
# A machine that does other things too, at worst: what the time left allows for.
_SLOWEST = 5.0
_MEMORY_CONTENDERS = ("kseq", "keras", "d2l loop", "expert loop")


@dataclass(frozen=True)
class Plan:
    """What a benchmark measures, and how long.

    engines, subjects, cells: those of `kseq.backend.ENGINES`, and of `cases.SUBJECTS` and `CELLS`.
    quick: the subjects that matter, and fewer rounds, but one, where the time runs out.
    rounds: how often every contender is measured; 3 if quick, else 7.
    seconds: how long at least a measurement takes; 0.2 if quick, else 0.7.
    threads: how many cores each engine may use; all of them if None.
    sizes: replaces sizes of every case, such as {"units": 4}, to try things out.

    Raises:
        UsageError: an unknown name, or a number that cannot be used.
    """

    engines: tuple[str, ...] = ENGINES
    subjects: tuple[str, ...] = SUBJECTS
    cells: tuple[str, ...] = CELLS
    quick: bool = False
    rounds: int | None = None
    seconds: float | None = None
    threads: int | None = None
    sizes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, given, known in (
            ("engines", self.engines, ENGINES),
            ("subjects", self.subjects, SUBJECTS),
            ("cells", self.cells, CELLS),
        ):
            for word in given:
                one_of(name, word, known)
        for name in ("rounds", "threads"):
            if getattr(self, name) is not None:
                positive_int(name, getattr(self, name), most=1000)
        if self.seconds is not None:
            positive_float("seconds", self.seconds)

    @property
    def num_rounds(self) -> int:
        """How often every contender is measured."""
        return self.rounds or (3 if self.quick else 7)

    @property
    def length(self) -> float:
        """How many seconds a measurement takes at least."""
        return self.seconds or (0.2 if self.quick else 0.7)

    @property
    def num_starts(self) -> int:
        """How many fresh processes tell a number of start-up."""
        return min(self.num_rounds, 2 if self.quick else 5)

    @property
    def num_threads(self) -> int:
        """How many cores each engine may use."""
        return self.threads or usable_cores()

    def cases(self) -> list[Case]:
        """Return what the workers measure."""
        found = cases(self.subjects, self.cells, self.quick)
        return [replace(case, **self.sizes) for case in found]

    def start_ups(self) -> list[StartUp]:
        """Return what fresh processes measure."""
        return start_ups(self.quick) if "start-up" in self.subjects else []

    def memory_cases(self) -> list[Case]:
        """Return the cases whose peak of memory is told too."""
        return [case for case in self.cases() if case.subject == "training" and case.tied]

    def expected_seconds(self) -> float:
        """Return about how long this takes on two cores."""
        fresh = len(self.start_ups()) * _FRESH * self.num_starts
        memory = len(self.memory_cases()) * len(_MEMORY_CONTENDERS) * _IMPORT / 2
        return _IMPORT + sum(map(self.expected_of, self.cases())) + fresh + memory

    def expected_of(self, case: Case) -> float:
        """Return about how long one case takes."""
        engines = [engine for engine in self.engines if engine in case.engines]
        contenders = len(case.only) or 2 * len(engines) + 4 * ("torch" in engines)
        opening = _OPEN if len(engines) > 1 else _OPEN / 3
        return opening + contenders * self.num_rounds * self.length * 1.5


# What begins now, and about how many seconds are left.
Tell = Callable[[str, float], None]


def benchmark(plan: Plan, tell: Tell | None = None, result: Result | None = None) -> Result:
    """Measure all of a plan, and return what came of it; failures are part of it.

    tell: called with what begins now and about how many seconds are left.
    result: filled case by case and returned, for one who wants what there is when stopped.

    Raises:
        UsageError: none of the engines is installed, or nothing is to be measured.
    """
    skipped = [engine for engine in plan.engines if engine not in _installed(plan)]
    plan = replace(plan, engines=_installed(plan))
    if not plan.cases() and not plan.start_ups():
        raise UsageError(
            f"subjects: must be measured with what else is chosen, found {plan.subjects} with "
            "--quick; leave --quick out, or choose more subjects"
        )
    result = empty_result(plan) if result is None else result
    result.skipped += skipped
    clock = _Clock(plan, tell)
    _measure_cases(plan, result, clock)
    _measure_memory(plan, result, clock)
    _measure_start_up(plan, result, clock)
    return result


def empty_result(plan: Plan) -> Result:
    """Return a result that knows its machine and versions and has no rows yet."""
    return Result(machine(), versions(), plan.num_threads, plan.num_rounds, plan.length)


def _installed(plan: Plan) -> tuple[str, ...]:
    found = tuple(engine for engine in plan.engines if find_spec(engine))
    if not found:
        raise UsageError(
            f"engines: must be installed, one at least, found none of {', '.join(plan.engines)}; "
            "install one, such as pip install torch"
        )
    return found


class _Clock:
    """Tell how much time is left, by what was expected and how it went so far."""

    def __init__(self, plan: Plan, tell: Tell | None) -> None:
        self.tell, self.expected = tell, plan.expected_seconds()
        self.began, self.done = time.perf_counter(), _IMPORT

    def starts(self, name: str, expected: float) -> None:
        passed = time.perf_counter() - self.began
        slowness = max(1.0, min(_SLOWEST, passed / self.done))
        if self.tell:
            self.tell(name, max(0.0, self.expected - self.done) * slowness)
        self.done += expected

    def is_late(self) -> bool:
        """Whether what has been started so far should be over."""
        return time.perf_counter() - self.began > self.done


def _measure_cases(plan: Plan, result: Result, clock: _Clock) -> None:
    todo = plan.cases()
    if not todo:
        return
    with workers(plan.engines, plan.num_threads) as started:
        _await(started, result)
        for case in todo:
            clock.starts(case.name, plan.expected_of(case))
            result.add(case, _measured(case, plan, started, result, clock))


def _await(started: list[WorkerProcess], result: Result) -> None:
    """Let all engines be imported, side by side; one that cannot be is told once."""
    for worker in started:
        try:
            worker.ask("close")
        except WorkerError as error:
            result.fail("all", worker.engine, "all", str(error))


def _measured(
    case: Case, plan: Plan, started: list[WorkerProcess], result: Result, clock: _Clock
) -> dict[tuple[str, str], Values]:
    """Return amounts and seconds of every round by engine and contender."""
    opened = list(_opened(case, started, result))
    values: dict[tuple[str, str], Values] = {}
    for number in range(plan.num_rounds):
        if plan.quick and number and clock.is_late():
            break
        _one_round(case, plan.length, opened, values, result)
    for worker in _alive(case, started):
        worker.ask("close")
    return values


def _one_round(
    case: Case,
    seconds: float,
    opened: list[tuple[WorkerProcess, str]],
    values: dict[tuple[str, str], Values],
    result: Result,
) -> None:
    """Measure every contender once; one that fails is left out from then on."""
    for worker, name in list(opened):
        try:
            answer = worker.ask("measure", name=name, seconds=seconds)
        except WorkerError as error:
            opened.remove((worker, name))
            values.pop((worker.engine, name), None)
            result.fail(case.name, worker.engine, name, str(error))
        else:
            done = (answer["amount"], answer["seconds"])
            values.setdefault((worker.engine, name), []).append(done)


def _opened(
    case: Case, started: list[WorkerProcess], result: Result
) -> Iterator[tuple[WorkerProcess, str]]:
    """Make all contenders of a case ready: torch's, then those that are compiled, side by side."""
    alive = _alive(case, started)
    for group in ("torch",), ("jax", "tensorflow"):
        asked = [worker for worker in alive if worker.engine in group]
        yield from _ready(case, asked, result)


def _ready(
    case: Case, asked: list[WorkerProcess], result: Result
) -> Iterator[tuple[WorkerProcess, str]]:
    for worker in asked:
        worker.send("open", case=asdict(case))
    for worker in asked:
        try:
            answer = worker.receive()
        except WorkerError as error:
            result.fail(case.name, worker.engine, "all", str(error))
            continue
        for name, cause in answer["failed"].items():
            result.fail(case.name, worker.engine, name, cause)
        yield from ((worker, name) for name in answer["names"])


def _alive(case: Case, started: list[WorkerProcess]) -> list[WorkerProcess]:
    return [worker for worker in started if worker.alive and worker.engine in case.engines]


def _measure_memory(plan: Plan, result: Result, clock: _Clock) -> None:
    if "torch" not in plan.engines:
        return
    for case in plan.memory_cases():
        for name in _MEMORY_CONTENDERS:
            title = f"peak memory, {case.name.removeprefix('training, ')}"
            clock.starts(f"{title}: {name}", _IMPORT / 2)
            try:
                with workers(["torch"], plan.num_threads) as (worker,):
                    mib = worker.ask("memory", case=asdict(case), name=name)["mib"]
            except WorkerError as error:
                result.fail(title, "torch", name, str(error))
            else:
                result.add_values("memory", title, "torch", name, "MiB", [mib])


def _measure_start_up(plan: Plan, result: Result, clock: _Clock) -> None:
    engine = plan.engines[0]
    for each in plan.start_ups():
        clock.starts(each.name, _FRESH * plan.num_starts)
        rounds = 1 if each.slow else plan.num_starts
        try:
            values = [each.value(engine, plan.num_threads) for _ in range(rounds)]
        except WorkerError as error:
            result.fail(each.name, engine, "kseq", str(error))
        else:
            result.add_values("start-up", each.name, engine, "kseq", each.unit, values)
