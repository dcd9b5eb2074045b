"""Continues a prompt with a saved language model, printing each piece as it is drawn.

    python scripts/generate_text.py language_model.keras "the " --temperature 0.7 --seed 1

To be run with the Python of an environment that has kseq, such as .venv/bin/python; the model may
have been trained under another engine.
"""

import argparse
import sys

import kseq


def main(arguments: list[str]) -> None:
    """Print the prompt and its continuation."""
    options = parse(arguments)
    model = kseq.load_model(options.model)
    pieces = model.stream(
        options.prompt, options.length, temperature=options.temperature, seed=options.seed
    )
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options: model, prompt, length, temperature, seed."""
    parser = argparse.ArgumentParser(description="Continue a prompt with a saved model.")
    parser.add_argument("model", help="a .keras file")
    parser.add_argument("prompt", nargs="?", default="", help="the text to continue")
    parser.add_argument("--length", type=int, default=200, help="tokens to add")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest")
    parser.add_argument("--seed", type=int, help="the same seed gives the same text")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
