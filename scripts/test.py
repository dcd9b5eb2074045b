"""Sets everything up and runs the test suite; what it does not know goes to pytest.

    python3 scripts/test.py                          the suite under torch
    python3 scripts/test.py --all                    under torch, JAX and TensorFlow
    python3 scripts/test.py --slow -k perplexity     slow tests too; any option of pytest
    python3 scripts/test.py --workers 1 --pdb        in one process

Each engine has a process of its own, because Keras binds to one engine on import.
"""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

import environment

ENGINES = ("torch", "jax", "tensorflow")
INTERRUPTED = 130
# Each has an engine of its own in memory, up to 2 GB.
MOST_WORKERS = 2


def main(arguments: list[str]) -> int:
    """Return the first exit code of pytest that is not 0, over the engines asked for.

    Raises:
        SetupError: `.venv` cannot be made or filled.
    """
    options, for_pytest = parse(arguments)
    python = environment.set_up(environment.ROOT, extras_for(options.engines))
    return run_suites(python, options, for_pytest)


def parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return this script's options (engines, workers, coverage) and what is meant for pytest."""
    parser = argparse.ArgumentParser(
        prog="scripts/test.py",
        description="Set everything up and run the test suite.",
        epilog="Everything else goes to pytest, --slow and --network (see tests/conftest.py) too.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--engines",
        type=_engines,
        default=_engines(os.environ.get("KERAS_BACKEND", "torch")),
        metavar="NAMES",
        help=f"engines to run under, joined with commas, of {', '.join(ENGINES)}; "
        "KERAS_BACKEND, or else torch, without it",
    )
    parser.add_argument(
        "--all", dest="engines", action="store_const", const=ENGINES, help="every engine"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=min(MOST_WORKERS, os.cpu_count() or 1),
        metavar="N",
        help="processes that share the tests of an engine (%(default)s); 1 runs them in one",
    )
    parser.add_argument(
        "--coverage",
        action="store_true",
        help="collect coverage data; `.venv/bin/coverage combine` and `report` show it",
    )
    return parser.parse_known_args(arguments)


def extras_for(engines: tuple[str, ...]) -> list[str]:
    """Return the extras of the project that the suite needs under `engines`."""
    return ["test", *(name for name in engines if name != "torch")]


def run_suites(python: Path, options: argparse.Namespace, for_pytest: list[str]) -> int:
    """Run pytest under each engine in turn; an interrupted run ends the series."""
    codes = []
    for name in options.engines:
        print(f"kseq: the suite under {name}", file=sys.stderr, flush=True)
        if options.coverage:
            forget_coverage(environment.ROOT, name)
        arguments = command(python, options.coverage, [*shared(options.workers), *for_pytest])
        codes.append(run_until_done(arguments, name))
        if codes[-1] == INTERRUPTED:
            break
    return next((code for code in codes if code), 0)


def command(python: Path, coverage: bool, for_pytest: list[str]) -> list[str]:
    """Return the command line that runs pytest, under coverage where asked."""
    runner = ["-m", "coverage", "run", "-m", "pytest"] if coverage else ["-m", "pytest"]
    return [str(python), *runner, *for_pytest]


def shared(workers: int) -> list[str]:
    """Return the options that make pytest share the test files among processes."""
    return ["-n", str(workers), "--dist", "loadfile"] if workers > 1 else []


def forget_coverage(root: Path, name: str) -> None:
    """Delete the data files an earlier run under the engine `name` left in `root`."""
    for path in root.glob(f".coverage.{name}.*"):
        path.unlink()


def run_until_done(arguments: list[str], name: str) -> int:
    """Return the exit code of `arguments` run under the engine `name`; 130 after Ctrl-C.

    Ctrl-C reaches pytest as well; this process only waits for its closing lines.
    """
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        code = subprocess.call(arguments, cwd=environment.ROOT, env=_variables(name))
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts:
        return INTERRUPTED
    return code if code >= 0 else 128 - code


def _variables(name: str) -> dict[str, str]:
    data = str(environment.ROOT / f".coverage.{name}")
    # The threads of several engines would wait for each other; a user's own choice stands.
    return {"OMP_NUM_THREADS": "1", **os.environ, "KERAS_BACKEND": name, "COVERAGE_FILE": data}


def _engines(names: str) -> tuple[str, ...]:
    chosen = tuple(names.split(","))
    unknown = [name for name in chosen if name not in ENGINES]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"must be of {', '.join(ENGINES)}, found {unknown[0]!r}; choose among those"
        )
    return chosen


if __name__ == "__main__":
    environment.run_as_program(main)
