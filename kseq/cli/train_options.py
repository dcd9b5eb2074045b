"""The options of `kseq train`."""

from __future__ import annotations

from typing import Any

from kseq.cli.parser import Parser, choice, count, held_out, rate, share, size, weight, weights
from kseq.cli.shared_options import add_batch, add_choice, add_device, add_reading
from kseq.experiments.recipes import RECIPES

CELLS = ("simple_rnn", "gru", "lstm")
TEACHING_CELLS = ("scratch_simple_rnn", "scratch_gru", "scratch_lstm", "peephole_lstm")
OPTIMIZERS = ("sgd", "asgd", "adam", "adamw", "rmsprop")
SCHEDULES = ("constant", "one_cycle", "cosine", "plateau")


def add_train(command: Parser) -> None:
    """What is read, what learns from it, how, and where it goes."""
    command.set_defaults(room="train")
    command.add_argument(
        "corpus",
        nargs="*",
        help="story (if left out), another that kseq corpora lists, files, or -",
    )
    command.add_argument(
        "--recipe",
        type=choice("recipe", tuple(RECIPES)),
        help=f"a named training whose choices are the defaults: {', '.join(RECIPES)}",
    )
    _add_text(command.add_argument_group("text"))
    _add_model(command.add_argument_group("model"))
    _add_regularization(command.add_argument_group("regularisation"))
    _add_fit(command.add_argument_group("training"))
    _add_run(command.add_argument_group("run"))


def _add_text(group: Any) -> None:
    add_choice(group, "--level", ("char", "word"), "char")
    group.add_argument(
        "--cleaning",
        type=choice("cleaning", ("d2l", "none")),
        help="d2l: lower-case letters alone; none: the text as it is (what suits the text)",
    )
    group.add_argument("--separator", help="between lines; '' joins them as d2l's first edition")
    add_reading(group)
    group.add_argument("--max-tokens", type=size("max_tokens"), help="train on the first tokens")
    group.add_argument(
        "--min-freq", type=count("min_freq"), default=0, help="rarer tokens become <unk>"
    )
    group.add_argument("--max-vocab", type=size("max_vocab"), help="most entries of the vocabulary")
    group.add_argument(
        "--valid",
        type=held_out,
        default=0.1,
        help="held out: a share of each text, or a number of tokens; 0 for nothing (%(default)s)",
    )
    group.add_argument(
        "--mix",
        type=weights,
        metavar="W,W",
        help="how often each text is read in an epoch: 2,1 or 1,0.5 (once each)",
    )


def _add_model(group: Any) -> None:
    add_choice(group, "--cell", CELLS + TEACHING_CELLS, "lstm")
    group.add_argument(
        "--units", type=size("units", 2**16), default=256, help="of each layer (%(default)s)"
    )
    group.add_argument(
        "--num-layers",
        type=size("num_layers", 2**10),
        default=2,
        help="recurrent layers (%(default)s)",
    )
    group.add_argument(
        "--embedding-dim",
        type=size("embedding_dim", 2**16),
        help="of a learned embedding (none: one-hot vectors)",
    )
    group.add_argument("--tie-weights", action="store_true", help="read out through the embedding")
    add_choice(group, "--init", ("keras", "torch", "d2l"), "keras")
    add_choice(group, "--dtype", ("float32", "mixed_bfloat16"), "float32")


# By their names in Python, as `kseq.LanguageModel` has them.
SHARES = {
    "dropout": "share dropped between layers",
    "input_dropout": "before the first layer",
    "output_dropout": "after the last layer",
    "embedding_dropout": "of whole types of token",
    "weight_drop": "of the entries of recurrent kernels",
}
PENALTIES = {
    "activation_l2": "weight of the penalty on large outputs",
    "temporal_l2": "weight of the penalty on outputs that change",
}


def _add_regularization(group: Any) -> None:
    for name, words in SHARES.items():
        group.add_argument(
            _option(name), type=share(name), default=0.0, help=f"{words} (%(default)s)"
        )
    group.add_argument(
        "--dropout-kind",
        type=choice("dropout_kind", ("standard", "locked")),
        default="standard",
        help="locked: one choice for all steps of a sequence (%(default)s)",
    )
    for name, words in PENALTIES.items():
        group.add_argument(
            _option(name), type=weight(name), default=0.0, help=f"{words} (%(default)g)"
        )


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _add_fit(group: Any) -> None:
    add_choice(group, "--batches", ("sequential", "random"), "sequential")
    add_batch(group)
    group.add_argument(
        "--num-steps-spread",
        type=count("num_steps_spread"),
        default=0,
        help="draw the steps of sequential batches with this deviation, such as 5 (%(default)s)",
    )
    group.add_argument(
        "--epochs", type=size("epochs"), default=50, help="times the text is read (%(default)s)"
    )
    add_choice(group, "--optimizer", OPTIMIZERS, "adam")
    group.add_argument(
        "--nonmonotone",
        type=size("nonmonotone"),
        help="epochs of no gain after which asgd begins its mean (5)",
    )
    group.add_argument(
        "--learning-rate",
        type=rate("learning_rate"),
        help="its peak (1 for sgd and asgd, 0.002 for the others)",
    )
    add_choice(group, "--schedule", SCHEDULES, "constant")
    group.add_argument(
        "--global-clipnorm", type=rate("global_clipnorm"), help="bound on all gradients (1)"
    )
    group.add_argument(
        "--clipnorm", type=rate("clipnorm"), help="bound on each variable's gradient instead"
    )
    group.add_argument(
        "--patience", type=size("patience"), help="epochs without improvement (asgd: of its mean)"
    )
    group.add_argument(
        "--keep",
        type=choice("keep", ("best", "last")),
        default="best",
        help="weights of which epoch, best (by the held-out loss) or last (%(default)s)",
    )
    group.add_argument(
        "--seed", type=count("seed"), default=0, help="of weights and batches (%(default)s)"
    )


def _add_run(group: Any) -> None:
    group.add_argument("--run-dir", help="where the results go (runs/CORPUS-CELL)")
    group.add_argument("--resume", action="store_true", help="go on where the run stopped")
    group.add_argument("--overwrite", action="store_true", help="replace an earlier run")
    group.add_argument(
        "--checkpoint-seconds",
        type=rate("checkpoint_seconds"),
        default=30.0,
        help="least time between two checkpoints (%(default)g)",
    )
    group.add_argument(
        "--checkpoint-steps",
        type=size("checkpoint_steps"),
        help="take one after so many steps, too",
    )
    group.add_argument("--prompt", action="append", help="text to continue; may be repeated")
    group.add_argument(
        "--sample-every",
        type=count("sample_every"),
        default=0,
        help="continue the prompts after so many epochs; 0 for at the end alone (%(default)s)",
    )
    group.add_argument(
        "--data-parallel", action="store_true", help="share each batch among JAX's devices"
    )
    add_device(group)
