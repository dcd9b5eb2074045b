"""Published results, and the commands that produce ours: one row each, judged by a stated band."""

from __future__ import annotations

from dataclasses import replace

from kseq.experiments.rows import Row

_BOOK = "Dive into Deep Learning"
# SGD at so high a rate jumps: the books of other years print other figures for the same code.
_ROUNDED = "to one unit of the last published decimal above"
_CLAIM = "a public notebook, which claims both books of H. G. Wells"
# 10,000 characters, 500 epochs, the lines joined as the book joins them, its initial weights.
_TEXT = "train time_machine --max-tokens 10000 --valid 10000 --separator= --keep last"
_SGD = "--optimizer sgd --epochs 500"


def _book_row(
    section: str,
    what: str,
    published: str,
    highest: float,
    options: str,
    seconds: int,
    quick: bool = False,
    init: str = "torch",
) -> Row:
    """A language model of the book; it is judged as the book does, on what it has memorised."""
    return Row(
        what,
        f"{_BOOK} {section}",
        published,
        "training perplexity, median of the last 20 epochs",
        (1.0, highest),
        _ROUNDED,
        f"{_TEXT} --init {init} {_SGD} {options}",
        ("training", "settled_perplexity"),
        seconds,
        quick,
    )


def _shakespeare_row(
    what: str, source: str, published: str, highest: float, options: str, seconds: int
) -> Row:
    return Row(
        what,
        source,
        published,
        "nats per character of the last tenth, at its best epoch",
        (highest, highest),
        "not above what was published",
        f"train tiny_shakespeare {options}",
        ("held_out", "loss"),
        seconds,
    )


ROWS: dict[str, Row] = {
    "d2l-8.1": Row(
        "perceptron of 10 units on the noisy sine",
        f"{_BOOK} 8.1",
        "0.0549, 0.0582",
        "mean squared error in training after 5 epochs",
        (0.0457, 0.0599),
        "the book's own code on 20 seeds",
        "forecast --preset sine-mlp",
        ("loss",),
        5,
        quick=True,
    ),
    "d2l-8.5-sequential": _book_row(
        "8.5",
        "RNN 512 from scratch, sequential batches",
        "1.0 - 1.1",
        1.2,
        "--cell scratch_simple_rnn --units 512 --num-layers 1 --learning-rate 1",
        300,
        init="d2l",
    ),
    "d2l-8.5-random": _book_row(
        "8.5",
        "RNN 512 from scratch, random batches",
        "1.1 - 1.5",
        1.6,
        "--cell scratch_simple_rnn --units 512 --num-layers 1 --learning-rate 1 --batches random",
        300,
        init="d2l",
    ),
    "d2l-8.6": _book_row(
        "8.6",
        "RNN 256",
        "1.3 - 1.4",
        1.5,
        "--cell simple_rnn --num-layers 1 --learning-rate 1",
        50,
        quick=True,
    ),
    "d2l-9.1-scratch": _book_row(
        "9.1",
        "GRU 256 from scratch",
        "1.1",
        1.2,
        "--cell scratch_gru --num-layers 1 --learning-rate 1",
        260,
        init="d2l",
    ),
    "d2l-9.1": _book_row(
        "9.1",
        "GRU 256",
        "1.0",
        1.1,
        "--cell gru --num-layers 1 --learning-rate 1",
        110,
        quick=True,
    ),
    "d2l-9.2-scratch": _book_row(
        "9.2",
        "LSTM 256 from scratch",
        "1.1",
        1.2,
        "--cell scratch_lstm --num-layers 1 --learning-rate 1",
        320,
        init="d2l",
    ),
    "d2l-9.2": _book_row(
        "9.2",
        "LSTM 256",
        "1.0",
        1.1,
        "--cell lstm --num-layers 1 --learning-rate 1",
        90,
        quick=True,
    ),
    "d2l-9.3-lstm": _book_row(
        "9.3",
        "LSTM 2 x 256",
        "1.0",
        1.1,
        "--cell lstm --num-layers 2 --learning-rate 2",
        200,
    ),
    "d2l-9.3-gru": _book_row(
        "9.3",
        "GRU 2 x 256",
        "1.0",
        1.1,
        "--cell gru --num-layers 2 --learning-rate 2",
        225,
    ),
    "d2l-9.3-scratch": _book_row(
        "9.3",
        "RNN 2 x 256 from scratch; the published one has no recurrence in its second layer",
        "1.0",
        1.1,
        "--cell scratch_simple_rnn --num-layers 2 --learning-rate 1",
        300,
        init="d2l",
    ),
    "d2l-9.4": Row(
        "bidirectional LSTM 2 x 256, which reads what it is asked to predict",
        f"{_BOOK} 9.4",
        "1.1",
        "training perplexity, median of the last 20 epochs",
        (1.0, 1.2),
        _ROUNDED,
        "figures seeing-ahead",
        ("seeing-ahead", "numbers", "perplexity"),
        600,
    ),
    "sine-rnn": Row(
        "two recurrent layers of 10 on a clean sine",
        "a public notebook, with its output",
        "0.00107",
        "squared error of iteration 800",
        (0.0004, 0.00107),
        "the published errors of iterations 300 to 800",
        "forecast --preset sine-rnn",
        ("losses", "800"),
        20,
        quick=True,
    ),
    "sine-lstm": Row(
        "LSTM of 6 units on 700 windows of a clean sine",
        "a public notebook, whose results are pictures",
        "a picture",
        "mean squared error one step ahead, after pair 700",
        (0.0, 0.005),
        "an error of 0.07, hardly seen in a picture of a sine from -1 to 1",
        "forecast --preset sine-lstm",
        ("mse_after", "lstm"),
        10,
        quick=True,
    ),
    "wells-10000": Row(
        "LSTM 2 x 256 on 10,000 raw characters of The Time Machine, as that notebook in fact did",
        _CLAIM,
        "1.0",
        "training perplexity, median of the last 20 epochs",
        (1.0, 1.1),
        _ROUNDED,
        "train time_machine --cleaning none --max-tokens 10000 --valid 10000 --keep last "
        f"--init torch {_SGD} --cell lstm --num-layers 2 --learning-rate 2",
        ("training", "settled_perplexity"),
        200,
    ),
    "wells-both": Row(
        "LSTM 2 x 256 on nine tenths of The Time Machine and of The War of the Worlds",
        _CLAIM,
        "1.0",
        "held-out perplexity, the last tenth of both books",
        (1.0, 1.1),
        "what was claimed of both",
        "train time_machine war_of_the_worlds --cleaning d2l --keep last --dropout 0.3 --epochs 10",
        ("held_out", "perplexity"),
        300,
    ),
    "char-rnn": _shakespeare_row(
        "LSTM 2 x 128, 50 epochs: the sizes and rate of char-rnn, where the rate also falls",
        "char-rnn (github.com/karpathy/char-rnn), which gives no figure",
        "none; the bound is nanoGPT's 1.88",
        1.88,
        "--units 128 --num-layers 2 --num-steps 50 --batch-size 50 --dropout 0.0 "
        "--optimizer rmsprop --learning-rate 0.002 --global-clipnorm 5",
        900,
    ),
    "tiny-shakespeare-3min": replace(
        _shakespeare_row(
            "LSTM 512, bfloat16 products, 4 epochs",
            "nanoGPT's transformer on a CPU, about 3 minutes (github.com/karpathy/nanoGPT)",
            "1.88",
            1.88,
            "--recipe tiny-shakespeare-3min",
            160,
        ),
        quick=True,
    ),
    "tiny-shakespeare": _shakespeare_row(
        "LSTM 512, bfloat16 products, 5 epochs",
        "nanoGPT's transformer on a GPU, about 3 minutes (github.com/karpathy/nanoGPT)",
        "1.4697",
        1.4697,
        "--recipe tiny-shakespeare",
        200,
    ),
    "tiny-shakespeare-40min": _shakespeare_row(
        "LSTM 2 x 512, regularised, bfloat16 products, 24 epochs",
        "nanoGPT's transformer on a GPU, about 3 minutes (github.com/karpathy/nanoGPT)",
        "1.4697",
        1.4697,
        "--recipe tiny-shakespeare-40min",
        2400,
    ),
}
