"""Compares forecasters of the noisy sine over many seeds, one choice changed at a time.

    python scripts/compare_forecasters.py --seeds 20

To be run with the Python of an environment that has kseq, such as .venv/bin/python.
"""

import argparse
import sys

import numpy as np

import kseq


def main(arguments: list[str]) -> None:
    """Print the root mean square error of each forecaster 1, 16 and 64 steps ahead."""
    options = parse(arguments)
    rows = [name for name in kseq.FORECASTERS if options.only in name]
    print(f"{f'mean of {options.seeds} seeds':52}{'1 step':>9}{'16':>9}{'64':>9}")
    kseq.compare_forecasters(range(options.seeds), rows, report=show)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options: seeds, only."""
    parser = argparse.ArgumentParser(description="Compare forecasters of the noisy sine.")
    parser.add_argument("--seeds", type=int, default=20, help="how many (%(default)s)")
    parser.add_argument("--only", default="", help="rows whose names contain this")
    return parser.parse_args(arguments)


def show(name: str, errors: np.ndarray) -> None:
    """Print one row."""
    print(f"{name:52}" + "".join(f"{error:9.4f}" for error in errors.mean(axis=0)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
