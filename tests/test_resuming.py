"""A run folder: a training that was stopped goes on as if it had not been, to the bit."""

import json
import shutil

import keras
import numpy as np
import pytest
from language_cases import Interrupt, same, tiny

import kseq
from kseq import Corpus, DataError, FileError, RandomBatches, SequentialBatches, UsageError

TIMES = ("tokens_per_second", "seconds", "seconds_left")
EPOCHS, STEPS = 4, 3
SAVED = ["best.keras", "checkpoint.keras"]
FILES = {"settings.json", "history.json", "checkpoint.keras", "best.keras"}


def model_of(name, schedule):
    model = tiny(num_layers=2, dropout=0.5)
    model.compile(kseq.clipped_optimizer(name, kseq.schedule(schedule, 0.1, STEPS * EPOCHS)))
    return model


def on_random_batches(folder, **options):
    """Train on what is judged, so that every epoch is the best."""
    model, ids = model_of("adam", "one_cycle"), np.array([1, 2, 3] * 14)
    return model, kseq.train(
        model,
        RandomBatches(ids, 3, 4),
        EPOCHS,
        validation=SequentialBatches(ids, 2, 4),
        run_dir=folder,
        **options,
    )


def on_sequential_batches(folder, **options):
    """Train on other tokens than those judged, so that no epoch is better than the first."""
    model = model_of("sgd", "plateau")
    return model, kseq.train(
        model,
        SequentialBatches(np.array([1, 2] * 21), 3, 4),
        EPOCHS,
        validation=SequentialBatches(np.array([3, 4] * 10), 2, 4),
        plateau=1,
        keep="last",
        run_dir=folder,
        **options,
    )


def without_times(records):
    return [{k: v for k, v in record.items() if k not in TIMES} for record in records]


def state_of(optimizer):
    return [keras.ops.convert_to_numpy(variable.value) for variable in optimizer.variables]


class Snapshots:
    """Copies of a run folder as a `kill -9` would leave it: before each file is replaced."""

    def __init__(self, folder, copies):
        self.folder, self.copies, self.names = folder, copies, []

    def saving(self, save):
        def watched(model, path, **options):
            if path.parent == self.folder:
                self.names.append(f"{len(self.names)} {path.name}")
                shutil.copytree(self.folder, self.copies / self.names[-1])
            save(model, path, **options)

        return watched


class Whole:
    """A training that nothing stopped, with the snapshots taken on its way."""

    def __init__(self, train, tmp_path):
        self.train, self.folder, self.copies = train, tmp_path / "run", tmp_path / "copies"
        snapshots = Snapshots(self.folder, self.copies)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kseq.LanguageModel, "save", snapshots.saving(kseq.LanguageModel.save))
            self.model, self.run = train(self.folder)
        self.snapshots = snapshots.names

    def resumed(self, snapshot):
        model, run = self.train(self.copies / snapshot, resume=True)
        assert without_times(run.records) == without_times(self.run.records)
        assert same(model.get_weights(), self.model.get_weights())
        assert same(state_of(model.optimizer), state_of(self.model.optimizer))
        assert model.provenance.to_dict() == self.model.provenance.to_dict()
        return run


@pytest.fixture(scope="module")
def random(tmp_path_factory):
    return Whole(on_random_batches, tmp_path_factory.mktemp("random"))


@pytest.fixture(scope="module")
def sequential(tmp_path_factory):
    return Whole(on_sequential_batches, tmp_path_factory.mktemp("sequential"))


# To the bit: with dropout, an optimizer that remembers, schedules and shuffled batches.


def test_a_training_killed_while_it_saves_ends_as_if_it_was_not(random):
    assert [taken.split()[1] for taken in random.snapshots] == SAVED * EPOCHS
    # The history and the best weights are of the third epoch, the checkpoint of the second.
    run = random.resumed(random.snapshots[5])
    assert run.best_epoch == EPOCHS
    # Two epochs were read, and two trained.
    times = [record["seconds"] for record in run.records]
    expected = [record["seconds"] for record in random.run.records]
    assert [one == other for one, other in zip(times, expected, strict=True)] == [1, 1, 0, 0]


def test_a_training_with_carried_state_ends_as_if_it_was_not_stopped(sequential):
    assert sequential.run.best_epoch == 1
    rates = [record["learning_rate"] for record in sequential.run.records]
    assert rates == pytest.approx([0.1, 0.1, 0.025, 0.00625])
    sequential.resumed(sequential.snapshots[-1])
    # The last weights were asked for.
    checkpoint = kseq.load_model(sequential.folder / "checkpoint.keras")
    assert same(checkpoint.get_weights(), sequential.model.get_weights())


def test_a_finished_training_is_only_read(random):
    before = (random.folder / "checkpoint.keras").read_bytes()
    resumed, again = random.train(random.folder, resume=True)
    assert again == random.run
    assert same(resumed.get_weights(), random.model.get_weights())
    assert (random.folder / "checkpoint.keras").read_bytes() == before


def test_the_folder_holds_what_the_run_did(random):
    model, run, folder = random.model, random.run, random.folder
    assert {path.name for path in folder.iterdir()} == FILES
    history = json.loads((folder / "history.json").read_text("utf-8"))
    assert history == run.to_dict()
    assert history["best_epoch"] == run.best_epoch
    last, best = (kseq.load_model(folder / f"{name}.keras") for name in ("checkpoint", "best"))
    assert same(last.get_weights(), model.get_weights())
    assert last.provenance.results["epoch"] == EPOCHS
    assert best.provenance.results["epoch"] == run.best_epoch
    settings = json.loads((folder / "settings.json").read_text("utf-8"))
    assert (settings["cell"], settings["batch_size"], settings["num_steps"]) == ("simple_rnn", 3, 4)


# Small models that train for one epoch: what a folder refuses, and what it forgets.

CORPUS = Corpus.from_text("abcdef" * 7, name="letters")


def short(folder, model=None, batches=None, epochs=1, **options):
    model = model or tiny()
    if not model.compiled:
        model.compile(kseq.clipped_optimizer("sgd", 0.5))
    batches = batches or SequentialBatches(CORPUS, 3, 4)
    return model, kseq.train(model, batches, epochs, run_dir=folder, keep="last", **options)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    folder = tmp_path_factory.mktemp("begun") / "new" / "run"
    # Where there is nothing to go on from, a resumed run begins.
    _, run = short(folder, resume=True)
    assert len(run.records) == 1
    return folder


@pytest.fixture
def copy(begun, tmp_path):
    return shutil.copytree(begun, tmp_path / "run")


OTHERS = {
    "units 6 then and 7 now": lambda: {"model": tiny(units=7)},
    "cell 'simple_rnn' then and 'gru' now": lambda: {"model": tiny("gru")},
    "num_steps 4 then and 5 now": lambda: {"batches": SequentialBatches(CORPUS, 3, 5)},
    "batches_seed 0 then and 1 now": lambda: {"batches": SequentialBatches(CORPUS, 3, 4, 1)},
    "'SequentialBatches' then and 'RandomBatches' now": lambda: {
        "batches": RandomBatches(CORPUS, 3, 4)
    },
    "tokens 42 then and 40 now": lambda: {
        "batches": SequentialBatches(CORPUS.divide(40, 0)[0], 3, 4)
    },
}


@pytest.mark.parametrize("difference", OTHERS)
def test_other_settings_are_refused_by_name(begun, difference):
    words = f"a resumed run must keep its settings, found .*{difference}.*; use the same, or "
    with pytest.raises(UsageError, match=words) as raised:
        short(begun, resume=True, **OTHERS[difference]())
    assert str(raised.value).count(" then and ") == 1


def test_every_difference_is_named(begun):
    model = tiny("lstm", dropout=0.5)
    model.compile(kseq.clipped_optimizer("adam", 0.25, global_clipnorm=2.0))
    with pytest.raises(UsageError) as raised:
        short(begun, model, resume=True)
    for name in ("cell", "dropout", "optimizer", "learning_rate", "clipping"):
        assert f"{name} " in str(raised.value)


def test_a_text_that_changed_is_refused(begun):
    other = Corpus.from_text("fedcba" * 7).with_vocab(CORPUS.vocab)
    with pytest.raises(DataError, match="a resumed run must keep its text, found another"):
        short(begun, batches=SequentialBatches(other, 3, 4), resume=True)


def test_without_resume_the_earlier_run_is_forgotten(copy):
    with pytest.raises(KeyboardInterrupt):
        short(copy, callbacks=[Interrupt(step=1)])
    assert {path.name for path in copy.iterdir()} == {"settings.json"}


def test_a_run_may_go_on_longer_than_it_was_planned(copy, tmp_path):
    model, run = short(tmp_path / "whole", epochs=2)
    resumed, again = short(copy, epochs=2, resume=True)
    assert without_times(again.records) == without_times(run.records)
    assert same(resumed.get_weights(), model.get_weights())


def test_a_run_that_ran_out_of_patience_stays_stopped(tmp_path):
    def stuck():
        model = tiny()
        for layer in model.stack.recurrent:
            layer.trainable = False
        model.compile(kseq.clipped_optimizer("sgd", 1e-30))
        return model

    batches = SequentialBatches(CORPUS, 3, 4, seed=None)
    _, run = short(tmp_path, stuck(), batches, epochs=9, patience=1)
    _, again = short(tmp_path, stuck(), batches, epochs=9, patience=1, resume=True)
    assert run.stopped_early
    assert again == run
    assert len(run.records) == 2


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="file/run: the run folder must be writable, found Not a "):
        short(tmp_path / "file" / "run")


def test_a_history_that_is_broken_is_named(copy):
    (copy / "history.json").write_text("{")
    with pytest.raises(FileError, match=r"history\.json: must hold the run's facts, found it "):
        short(copy, resume=True)
