"""Sets everything up, all three engines too, and measures how fast kseq is on this machine.

    python3 scripts/benchmark.py --quick

Needs Python 3.11 with venv and pip, and the network on the first start.  The options are those
of `kseq benchmark`.
"""

import os

import environment

OPTIONAL_ENGINES = ("jax", "tensorflow")


def main(arguments: list[str]) -> int:
    """Replace this process by `kseq benchmark` with `arguments`.

    Raises:
        SetupError: `.venv` cannot be made or filled.
    """
    python = str(environment.set_up(environment.ROOT, list(OPTIONAL_ENGINES)))
    # -P: a file of the current folder must not stand in for a library.
    os.execv(python, [python, "-P", "-m", "kseq", "benchmark", *arguments])


if __name__ == "__main__":
    environment.run_as_program(main)
