"""The process of one engine: `python -m kseq.benchmark.worker`, asked and answering line by line.

A line in is a JSON object with `ask` and its arguments, a line out the answer or its `cause` of
failure:

    open      case, tiny        make every contender of the case ready and warm -> {names, failed}
    measure   name, seconds     -> {amount, seconds}
    memory    case, name        peak of resident memory that contender needs -> {mib}
    close                       let go of the contenders -> {}

`KERAS_BACKEND` names the engine.  It ends when there is nothing more to read.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
from collections.abc import Callable
from typing import Any, TextIO

from kseq.benchmark.cases import Case
from kseq.benchmark.measuring import Contender

Makers = dict[str, Callable[[], Contender]]


class Worker:
    """Contenders by name, from when their case is opened until it is closed."""

    def __init__(self) -> None:
        self.contenders: dict[str, Contender] = {}

    def open(self, case: dict[str, Any]) -> dict[str, Any]:
        """Make each contender of the case, and let it work once; what fails is told by name."""
        failed = {}
        for name, make in makers(_case(case)).items():
            try:
                contender = make()
                contender.measure(0.0)
                self.contenders[name] = contender
            except Exception as error:
                failed[name] = cause(error)
        return {"names": list(self.contenders), "failed": failed}

    def measure(self, name: str, seconds: float) -> dict[str, Any]:
        """Measure one contender of the open case."""
        amount, passed = self.contenders[name].measure(seconds)
        return {"amount": amount, "seconds": passed}

    def memory(self, case: dict[str, Any], name: str) -> dict[str, Any]:
        """Return by how much a contender raises this process's peak of resident memory, in MiB."""
        make = makers(_case(case))[name]
        before = peak()
        contender = make()
        contender.measure(0.0)
        contender.measure(0.0)
        return {"mib": peak() - before}

    def close(self) -> dict[str, Any]:
        """Let go of the contenders of the open case."""
        for contender in self.contenders.values():
            contender.close()
        self.contenders.clear()
        gc.collect()
        return {}


def makers(case: Case) -> Makers:
    """Return the contenders of a case under the engine in use, as functions that make them."""
    found = _of_subject(case.subject)(case)
    only = case.only or tuple(found)
    return {name: make for name, make in found.items() if name in only}


def peak() -> float:
    """Return the most memory this process has held so far, in MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def cause(error: BaseException) -> str:
    r"""Return an error as one line.

    Example:
        >>> cause(ValueError("too\nlong"))
        'ValueError: too long'
    """
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def serve(questions: TextIO, answers: TextIO) -> None:
    """Answer each line of `questions` by one of `answers`, until there are no more."""
    worker = Worker()
    for line in questions:
        arguments = json.loads(line)
        try:
            answer = getattr(worker, arguments.pop("ask"))(**arguments)
        except Exception as error:
            answer = {"cause": cause(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """Serve the process that started this one, on standard input and output."""
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    use_cores(int(os.environ["KSEQ_BENCHMARK_THREADS"]))
    from kseq import backend

    with backend.alone():
        backend.require_engine()
        serve(sys.stdin, answers)
    # A training that waits on its thread must not keep the process.
    os._exit(0)


def use_cores(count: int) -> None:
    """Keep this process to the first `count` cores it may use, for engines without an option."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def _of_subject(subject: str) -> Callable[[Case], Makers]:
    if subject == "generation":
        from kseq.benchmark.generating import generation_contenders

        return generation_contenders
    if subject == "overhead":
        from kseq.benchmark.overhead import overhead_contenders

        return overhead_contenders
    if subject == "layers":
        from kseq.benchmark.layers import layer_contenders

        return layer_contenders
    from kseq.benchmark.training import training_contenders

    return training_contenders


def _case(fields: dict[str, Any]) -> Case:
    return Case(**{**fields, "engines": tuple(fields["engines"]), "only": tuple(fields["only"])})


if __name__ == "__main__":
    main()
