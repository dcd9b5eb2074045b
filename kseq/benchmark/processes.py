"""Child processes: a worker for each engine, asked one question at a time, and ended for sure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kseq.errors import KseqError

_PACKAGE = Path(__file__).resolve().parent.parent
_PATIENCE = 5.0  # seconds a child has to end by itself


class WorkerError(KseqError):
    """A worker that ended, or that answered with the cause of a failure."""


class WorkerProcess:
    """The process of one engine, from its start to `end`; see `kseq.benchmark.worker`.

    engine: "torch", "jax" or "tensorflow".
    threads: how many cores it may use.
    """

    def __init__(self, engine: str, threads: int) -> None:
        self.engine = engine
        self.said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - see `end`
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kseq.benchmark.worker"],
            env=environment(engine, threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
            # Ctrl-C is for the one who started it, who then ends it.
            start_new_session=True,
        )

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self.process.poll() is None

    def ask(self, question: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer to one question.

        Raises:
            WorkerError: it failed, or the process has ended.
        """
        self.send(question, **arguments)
        return self.receive()

    def send(self, question: str, **arguments: Any) -> None:
        """Ask without waiting for the answer."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"ask": question, **arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise WorkerError(self._end_of()) from error

    def receive(self) -> dict[str, Any]:
        """Wait for the answer to the last question."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError(self._end_of())
        answer = json.loads(line)
        if "cause" in answer:
            raise WorkerError(answer["cause"])
        return answer

    def end(self) -> None:
        """End the process, and wait until it has ended."""
        self.process.terminate()
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            _close(pipe)
        self.said.close()

    def _end_of(self) -> str:
        code = self.process.wait()
        self.said.seek(0)
        lines = [line.strip() for line in self.said if line.strip()]
        return f"{self.engine}: ended with {code}: {lines[-1] if lines else 'no word'}"


@contextmanager
def workers(engines: Sequence[str], threads: int) -> Iterator[list[WorkerProcess]]:
    """Start one worker for each engine, and end them all however the block ends."""
    started: list[WorkerProcess] = []
    try:
        for engine in engines:
            started.append(WorkerProcess(engine, threads))  # noqa: PERF401 - ended one by one
        yield started
    finally:
        for worker in started:
            worker.end()


def output_of(words: Sequence[str], engine: str, threads: int) -> str:
    """Run Python with `words` in a process of its own; return what it wrote.

    Raises:
        WorkerError: it did not end well; the message is the last line of its standard error.
    """
    done = subprocess.run(
        [sys.executable, *words],
        env=environment(engine, threads),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no word"]
        raise WorkerError(f"ended with {done.returncode}: {lines[-1]}")
    return done.stdout


def environment(engine: str, threads: int) -> Mapping[str, str]:
    """Return the variables of a child: this process's, its engine, and how many threads.

    Example:
        >>> environment("jax", 2)["KERAS_BACKEND"]
        'jax'
    """
    path = [str(_PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    chosen = {
        "KERAS_BACKEND": engine,
        "PYTHONPATH": os.pathsep.join(path),
        "KSEQ_BENCHMARK_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return {**os.environ, **chosen}


def _close(pipe: Any) -> None:
    # What was never read by a child that is gone cannot be written either.
    with suppress(BrokenPipeError):
        pipe.close()
