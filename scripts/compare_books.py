"""Trains one model on each of several books and on all of them, and judges each on every book.

    python scripts/compare_books.py time_machine war_of_the_worlds --steps 3000

To be run with the Python of an environment that has kseq, such as .venv/bin/python.
"""

import argparse
import json
import sys
from typing import Any

import kseq


def main(arguments: list[str]) -> int:
    """Print the table of held-out perplexities; return the exit code."""
    options = vars(parse(arguments))
    as_json = options.pop("json")
    try:
        rows = kseq.compare_books(options.pop("books"), report=show, **options)
    except kseq.KseqError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps([row.to_dict() for row in rows]) if as_json else kseq.books_in_words(rows))
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options: the books, where they are, and settings of the model."""
    parser = argparse.ArgumentParser(description="What merging books gains and costs.")
    parser.add_argument("books", nargs="*", default=["time_machine", "war_of_the_worlds"])
    parser.add_argument("--data-dir", help="folder of named texts")
    parser.add_argument("--cleaning", help="d2l or none, for all of them (that of the texts)")
    parser.add_argument("--steps", type=int, default=3000, help="of each row (%(default)s)")
    parser.add_argument("--cell", default="gru", help="(%(default)s)")
    parser.add_argument("--units", type=int, default=256, help="(%(default)s)")
    parser.add_argument("--num-layers", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--dropout", type=float, default=0.0, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each row (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON list of rows")
    return parser.parse_args(arguments)


def show(name: str, record: dict[str, Any]) -> None:
    """Show where the training of a row is, on standard error."""
    left = f"{record['seconds_left']:.0f} s left"
    line = f"{name}: epoch {record['epoch']}, perplexity {record['perplexity']:.2f}, {left}"
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
