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


def main(arguments: list[str]) -> None:
    """Print for each row the nats per token, held out and of the text learnt from."""
    options = parse(arguments)
    if not options.json:
        print(f"{'':42}{'held out':>10}{'training':>10}{'epoch':>7}{'seconds':>9}")
    report = None if options.json else show
    rows = kseq.ablate_language_model(
        options.corpus,
        quick=options.quick,
        seed=options.seed,
        report=report,
        data_dir=options.data_dir,
    )
    if options.json:
        print(
            json.dumps(
                {
                    "corpus": options.corpus,
                    "quick": options.quick,
                    "seed": options.seed,
                    "rows": [asdict(row) for row in rows],
                }
            )
        )


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options: corpus, data_dir, quick, seed, json."""
    parser = argparse.ArgumentParser(description="Ablate a language model's regularisers.")
    parser.add_argument("corpus", nargs="?", default="tiny_shakespeare", help="a text's name")
    parser.add_argument("--data-dir", help="folder of named texts")
    parser.add_argument("--quick", action="store_true", help="small and short: does it run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(arguments)


def show(row: Any) -> None:
    """Print one row."""
    name = row.name if row.name in ("everything", "nothing") else f"  {row.name}"
    figures = f"{row.held_out:10.4f}{row.training:10.4f}{row.epoch:7}{row.seconds:9.0f}"
    print(f"{name:42}{figures}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
