"""`kseq.train`: records, best weights, patience, plateaus, samples, and that it learns."""

import math

import keras
import numpy as np
import pytest
from language_cases import UNITS, V, draw_ids, same, tiny

import kseq
from kseq import Corpus, NumericalError, RandomBatches, SequentialBatches, UsageError
from kseq.training import held_out_batches

IDS = draw_ids(60)
TIMES = ("tokens_per_second", "seconds", "seconds_left")


def batches_of_ids():
    return SequentialBatches(IDS, 3, 4, seed=None)


def compiled(model, learning_rate=0.5, **options):
    model.compile(kseq.clipped_optimizer("sgd", learning_rate), **options)
    return model


def broken_loss(targets, logits):
    """A finite loss whose gradient is not a number."""
    loss = keras.ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
    return loss + keras.ops.sum(keras.ops.sqrt(0.0 * logits), -1)


def idle_loss(targets, logits):
    """A loss without a gradient."""
    still = keras.ops.stop_gradient(logits)
    loss = keras.ops.sparse_categorical_crossentropy(targets, still, from_logits=True)
    return loss + keras.ops.sum(0.0 * logits, -1)


class Notes(keras.callbacks.Callback):
    """Keeps the weights at the end of every epoch."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self.model.get_weights())


# Records.


@pytest.fixture(scope="module")
def trained():
    """Three epochs judged on held-out text, with samples after every second."""
    model, reported = compiled(tiny()), []
    run = kseq.train(
        model,
        batches_of_ids(),
        epochs=3,
        validation=SequentialBatches(draw_ids(30, seed=1), 2, 4),
        prompts=["abc", "f"],
        sample_every=2,
        report=lambda record: reported.append(dict(record)),
        keep="last",
    )
    return model, run, reported


def test_every_epoch_has_a_record(trained):
    _, run, reported = trained
    assert [record["epoch"] for record in run.records] == [1, 2, 3]
    for record in run.records:
        assert record["perplexity"] == pytest.approx(math.exp(record["loss"]), rel=1e-5)
        assert record["val_perplexity"] == pytest.approx(math.exp(record["val_loss"]), rel=1e-5)
        assert record["learning_rate"] == 0.5
        assert record["skipped_steps"] == 0
        assert record["tokens_per_second"] * record["seconds"] > 4 * 3 * 4
        assert all(isinstance(record[name], float) for name in TIMES)
    assert run.records[-1]["seconds_left"] == 0 < run.records[0]["seconds_left"]
    assert reported == run.records
    assert not run.stopped_early


def test_the_last_record_is_what_the_model_does(trained):
    model, run, _ = trained
    last, held_out = run.records[-1], SequentialBatches(draw_ids(30, seed=1), 2, 4)
    loss, perplexity = model.evaluate(held_out, verbose=0)
    assert (last["val_loss"], last["val_perplexity"]) == pytest.approx((loss, perplexity), rel=1e-6)
    assert model.provenance.epochs == 3
    figures = ("epoch", "loss", "perplexity", "val_loss", "val_perplexity")
    assert model.provenance.results == {name: last[name] for name in figures}


def test_samples_come_when_asked_for(trained):
    model, run, _ = trained
    assert [len(record.get("samples", [])) for record in run.records] == [0, 2, 0]
    first, second = run.records[1]["samples"]
    assert (first[:3], second[0], len(first)) == ("abc", "f", 53)
    assert first != model.generate("abc", 50) or second != model.generate("f", 50)


def test_a_model_that_is_not_compiled_gets_the_defaults():
    model = tiny()
    run = kseq.train(model, RandomBatches(IDS, 3, 4), epochs=1)
    assert type(model.optimizer).__name__ == "ClippedAdam"
    assert set(run.records[0]) == {"epoch", "loss", "perplexity", *TIMES} | {
        "learning_rate",
        "skipped_steps",
    }


# Whose weights the model ends with.


def test_the_model_ends_with_its_best_weights():
    model, notes = compiled(tiny()), Notes()
    # The more it learns of one text the worse it knows another.
    run = kseq.train(
        model,
        SequentialBatches(np.array([1, 2] * 40), 2, 5),
        epochs=3,
        validation=SequentialBatches(np.array([3, 4] * 20), 2, 5),
        callbacks=[notes],
    )
    losses = [record["val_loss"] for record in run.records]
    assert losses == sorted(losses)
    assert run.best_epoch == 1
    assert same(model.get_weights(), notes.weights[0])
    assert not same(notes.weights[0], notes.weights[2])
    assert model.provenance.epochs == 3
    first = {"epoch": 1, "val_loss": losses[0]}
    assert first.items() <= model.provenance.results.items()


# When no epoch is better than the first.


@pytest.fixture(scope="module")
def idle():
    """A model that does not learn, for several trainings."""
    return compiled(tiny(), loss=idle_loss)


def test_patience_runs_out(idle):
    run = kseq.train(idle, batches_of_ids(), epochs=9, patience=2)
    assert (len(run.records), run.best_epoch, run.stopped_early) == (3, 1, True)


def test_patience_that_runs_out_in_the_last_epoch_stops_nothing_early(idle):
    run = kseq.train(idle, batches_of_ids(), epochs=3, patience=2)
    assert (len(run.records), run.stopped_early) == (3, False)


def test_a_plateau_quarters_the_learning_rate(idle):
    compiled(idle, 1.0, loss=idle_loss)
    run = kseq.train(idle, batches_of_ids(), epochs=6, plateau=2)
    rates = [record["learning_rate"] for record in run.records]
    assert rates == [1.0, 1.0, 1.0, 0.25, 0.25, 0.0625]


@pytest.mark.filterwarnings("ignore:8 steps were skipped:UserWarning")
def test_steps_that_are_skipped_are_counted():
    model = compiled(tiny(), loss=broken_loss)
    before = model.get_weights()
    run = kseq.train(model, batches_of_ids(), epochs=2)
    assert [record["skipped_steps"] for record in run.records] == [4, 8]
    assert same(model.get_weights(), before)
    assert run.records[0]["loss"] == run.records[1]["loss"] == pytest.approx(math.log(V), rel=0.3)


def test_a_plateau_needs_a_rate_that_is_a_number():
    model = tiny()
    model.compile(kseq.clipped_optimizer("sgd", kseq.schedule("cosine", 0.5, 10)))
    with pytest.raises(UsageError, match=r"^plateau: the learning rate must be a number, found a"):
        kseq.train(model, batches_of_ids(), plateau=2)


# Learning, or not.


def test_it_learns_a_periodic_text():
    corpus = Corpus.from_text("the cat sat. " * 40)
    train, held_out = corpus.split(0.8)
    model = kseq.LanguageModel(train.vocab, "gru", 16, 1)
    model.compile(kseq.clipped_optimizer("adam", 0.03))
    run = kseq.train(model, SequentialBatches(train, 4, 13), epochs=15, validation=held_out)
    assert run.records[run.best_epoch - 1]["val_perplexity"] < 1.1
    assert run.records[0]["val_perplexity"] > 3
    assert model.generate("the c", 20) == "the cat sat. the cat sat."


def test_a_learning_rate_that_diverges_is_an_error():
    model = compiled(tiny(), 1e6)
    words = (
        r"^loss: must stay finite and near or below guessing \(1\.9 nats\), found .* in epoch 1 "
    )
    with pytest.raises(
        NumericalError, match=words + r"\(0 steps skipped\); lower the learning rate"
    ):
        kseq.train(model, batches_of_ids(), epochs=3)


def exploding_loss(targets, logits):
    """A loss that is not a number from the third step on: its weights grow without bound."""
    loss = keras.ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
    return loss * keras.ops.exp(1e4 * keras.ops.mean(keras.ops.square(logits)) - 1e3)


def test_a_loss_that_is_no_number_ends_the_run_at_its_step(tmp_path):
    model = tiny()
    # Nothing guards the weights here.
    model.compile(keras.optimizers.SGD(1e20), loss=exploding_loss, metrics=[])
    with pytest.raises(NumericalError, match=r"^loss: must stay finite, found \w+ in steps? \d"):
        kseq.train(model, batches_of_ids(), 30, run_dir=tmp_path / "run", checkpoint_steps=1)
    for path in (tmp_path / "run").glob("checkpoint-*.npz"):
        with np.load(path) as archive:
            arrays = [archive[name] for name in archive.files if name.startswith("model/")]
        assert all(np.isfinite(array).all() for array in arrays)


def loss_of_letters_but_one(targets, logits):
    """A loss that is no number where the last letter of the vocabulary is to be said."""
    loss = keras.ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
    return keras.ops.where(keras.ops.equal(targets, V - 1), float("nan"), loss)


def test_a_held_out_loss_that_is_no_number_ends_the_run_at_its_epoch(tmp_path):
    model, ids = tiny(), np.array([1, 2, 3] * 14)
    model.compile(kseq.clipped_optimizer("sgd", 0.5), loss=loss_of_letters_but_one, metrics=[])
    judged = SequentialBatches(np.array([1, V - 1] * 10), 2, 4)
    words = r"^val_loss: must stay finite, found nan on the held-out text in epoch 1, whose loss"
    with pytest.raises(NumericalError, match=words):
        kseq.train(
            model,
            SequentialBatches(ids, 3, 4),
            validation=judged,
            run_dir=tmp_path,
            checkpoint_steps=1,
        )
    assert len(list(tmp_path.glob("checkpoint-*.npz"))) == 2


# The held-out text.


def test_a_held_out_text_is_judged_with_little_waste():
    held_out = Corpus.from_text("the quick brown fox jumps over the lazy dog")
    batches = held_out_batches(held_out, SequentialBatches(draw_ids(2000), 32, 35))
    assert batches.seed is None
    assert batches.corpus is held_out
    # One row, because more would each start cold.
    assert (batches.batch_size, batches.tokens_per_epoch) == (1, len(held_out) - 1)
    assert held_out_batches(batches, None) is batches
    assert held_out_batches(None, None) is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 0}, r"^epochs: must be a whole number, at least 1, found 0"),
        ({"keep": "lats"}, r"^keep: must be 'best' or 'last', found 'lats'; did you mean 'last'\?"),
        ({"patience": 0}, r"^patience: must be a whole number, at least 1, found 0"),
        ({"plateau": -1}, r"^plateau: must be a whole number, at least 1, found -1"),
        ({"sample_every": -1}, r"^sample_every: must be a whole number, at least 0, found -1"),
    ],
)
def test_arguments_are_refused_before_any_work(tmp_path, options, words):
    model = compiled(tiny(), metrics=[])
    with pytest.raises(UsageError, match=words):
        kseq.train(model, batches_of_ids(), run_dir=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
    assert model.provenance.epochs == 0
    assert model.units == UNITS
