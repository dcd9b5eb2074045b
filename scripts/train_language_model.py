"""Trains a language model with `model.fit`, lets it speak, and saves it.

    python scripts/train_language_model.py story --cell gru --epochs 10
    python scripts/generate_text.py language_model.keras "the "

To be run with the Python of an environment that has kseq, such as .venv/bin/python; the same with
checkpoints, floors and a curve is `kseq train`.
"""

import argparse
import sys

import kseq

BATCH_SIZE, NUM_STEPS = 32, 35


def main(arguments: list[str]) -> None:
    """Train as the options say; print the held-out perplexity and a sample."""
    options = parse(arguments)
    corpus = kseq.load_corpus(options.corpus)
    train, valid = corpus.split(0.9)
    batches = kseq.SequentialBatches(train, BATCH_SIZE, NUM_STEPS, seed=0)
    held_out = kseq.SequentialBatches(valid, BATCH_SIZE, NUM_STEPS)

    model = kseq.LanguageModel(train.vocab, cell=options.cell, units=options.units, num_layers=2)
    model.compile(optimizer=kseq.clipped_optimizer("adam", learning_rate=0.002))
    model.fit(batches, epochs=options.epochs, validation_data=held_out, verbose=2)

    loss, perplexity = model.evaluate(held_out, verbose=0)
    print(f"held out: {loss:.3f} nats per token, perplexity {perplexity:.2f}")
    print(model.generate(train.text[:10], max_new_tokens=50))
    model.save(options.save)
    print(f"saved as {options.save}")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options: corpus, cell, units, epochs, save."""
    parser = argparse.ArgumentParser(description="Train a language model with model.fit.")
    parser.add_argument("corpus", nargs="?", default="story", help="the name or path of a text")
    parser.add_argument("--cell", default="lstm", choices=("simple_rnn", "gru", "lstm"))
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--save", default="language_model.keras", help="where the model goes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
