"""Sets everything up and runs `kseq ARGS`; without arguments, the tour `kseq demo`.

    python3 scripts/run.py train story --cell lstm --num-layers 2

Needs Python 3.11 with venv and pip, and the network on the first start.  An engine chosen with
KERAS_BACKEND=jax or tensorflow is installed too.
"""

import os
from collections.abc import Mapping

import environment

OPTIONAL_ENGINES = ("jax", "tensorflow")


def main(arguments: list[str]) -> int:
    """Replace this process by `kseq` with `arguments`; paths stay relative to the caller's folder.

    Raises:
        SetupError: `.venv` cannot be made or filled.
    """
    python = str(environment.set_up(environment.ROOT, chosen_extras(os.environ)))
    # -P: a file of the current folder must not stand in for a library.
    os.execv(python, [python, "-P", "-m", "kseq", *(arguments or ["demo"])])


def chosen_extras(variables: Mapping[str, str]) -> list[str]:
    """Return the extra that the engine named in KERAS_BACKEND needs, if any."""
    return [name for name in OPTIONAL_ENGINES if name == variables.get("KERAS_BACKEND")]


if __name__ == "__main__":
    environment.run_as_program(main)
