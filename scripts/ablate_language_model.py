"""Shows what each regulariser of the literature's language model is worth, in held-out nats.

    python scripts/ablate_language_model.py tiny_shakespeare --quick

To be run with the Python of an environment that has kseq, such as .venv/bin/python.  Without
--quick it takes hours on two CPU cores.
"""

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

import kseq

# What an option can change of what every row gets alike.
SIZES = {
    "units": int,
    "num_layers": int,
    "embedding_dim": int,
    "batch_size": int,
    "num_steps": int,
    "learning_rate": float,
    "epochs": int,
    "nonmonotone": int,
    "max_tokens": int,
    "dtype": str,
}


def main(arguments: list[str]) -> int:
    """Print for each row the nats per token, held out and of the text learnt from."""
    options = vars(parse(arguments))
    as_json = options.pop("json")
    options = {name: value for name, value in options.items() if value is not None}
    if not as_json:
        print(f"{'':46}{'held out':>10}{'training':>10}{'epoch':>7}{'seconds':>9}", flush=True)
    try:
        rows = kseq.ablate_language_model(**options, report=None if as_json else show)
    except kseq.KseqError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if as_json:
        print(json.dumps(options | {"rows": [asdict(row) for row in rows]}))
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options: source, data_dir, quick, the sizes, seed, json."""
    parser = argparse.ArgumentParser(description="Ablate a language model's regularisers.")
    parser.add_argument("source", nargs="?", default="tiny_shakespeare", help="a text's name")
    parser.add_argument("--data-dir", help="folder of named texts")
    parser.add_argument("--quick", action="store_true", help="small and short: does it run")
    for name, kind in SIZES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help="of every row")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="these alone, in this order")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(arguments)


def show(row: Any) -> None:
    """Print one row."""
    name = row.name if row.name in ("everything", "nothing") else f"  {row.name}"
    figures = f"{row.held_out:10.4f}{row.training:10.4f}{row.epoch:7}{row.seconds:9.0f}"
    print(f"{name:46}{figures}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
