"""Trains the book's perceptron on the noisy sine with model.fit, judges it, and saves it.

    python scripts/train_forecaster.py --out sine.keras

To be run with the Python of an environment that has kseq, such as .venv/bin/python.
"""

import argparse
import sys

import kseq


def main(arguments: list[str]) -> None:
    """Train, print errors beside those of averaging four points, forecast, save."""
    options = parse(arguments)
    series = kseq.noisy_sine(1000, seed=0)
    x, y = kseq.windows(series, window=4)
    model = kseq.Forecaster("mlp", window=4, units=10)
    model.compile(kseq.clipped_optimizer("adam", learning_rate=0.01))
    model.fit(x[:600], y[:600], batch_size=16, epochs=options.epochs, verbose=2)

    ahead = kseq.k_step(model, series, steps=(1, 4, 16, 64))
    for steps, error in ahead.rmse(series, first=604).items():
        print(f"{steps:2} steps ahead: root mean square error {error:.3f}")
    found = kseq.backtest(model, series, horizon=16, start=604)
    print(f"skill against averaging four points: {found.skill['mean of last 4']:.2f}")
    print(f"the next four points: {model.forecast(series, horizon=4).round(2)}")
    model.save(options.out)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options: epochs, out."""
    parser = argparse.ArgumentParser(description="Train a forecaster on the noisy sine.")
    parser.add_argument("--epochs", type=int, default=5, help="times the pairs are read")
    parser.add_argument("--out", default="forecaster.keras", help="the file to write")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
