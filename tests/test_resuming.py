"""A run folder: a training that was stopped anywhere goes on as if it had not been, to the bit."""

import json
import shutil
import signal
import warnings
from contextlib import contextmanager

import keras
import numpy as np
import pytest
from language_cases import UNITS, Interrupt, same, tiny

import kseq
from kseq import (
    Corpus,
    DataError,
    FileError,
    NumericalError,
    RandomBatches,
    SequentialBatches,
    UsageError,
    Vocab,
)
from kseq.runs import folder
from kseq.runs.checkpoints import read_checkpoint, write_checkpoint
from kseq.training import checkpointing

EVERYTHING = {
    "dropout": 0.3,
    "dropout_kind": "locked",
    "input_dropout": 0.2,
    "output_dropout": 0.2,
    "embedding_dropout": 0.2,
    "weight_drop": 0.4,
    "activation_l2": 2.0,
    "temporal_l2": 1.0,
}
# What a folder holds and refuses is the same under every engine.
files_alone = pytest.mark.engine("torch")
TIMES = ("tokens_per_second", "seconds", "seconds_left")
EPOCHS, STEPS = 4, 3
FILES = {"settings.json", "history.json", "best.keras"}


EVERY_OTHER_STEP = {"checkpoint_steps": 2, "checkpoint_seconds": None}


class Ask(keras.callbacks.Callback):
    """Sends a signal to this process after so many steps, or at an event of an epoch."""

    def __init__(self, step=None, event=None, epoch=0):
        super().__init__()
        self.step, self.event, self.epoch, self.steps = step, event, epoch, 0

    def ask(self):
        signal.raise_signal(signal.SIGINT)

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if self.steps == self.step:
            self.ask()

    def on_test_begin(self, logs=None):
        if (self.event, self.epoch) == ("judging begins", self.now):
            self.ask()

    def on_test_batch_end(self, batch, logs=None):
        if (self.event, self.epoch, batch) == ("judging", self.now, 0):
            self.ask()

    def on_epoch_end(self, epoch, logs=None):
        if (self.event, self.epoch) == ("epoch ends", self.now):
            self.ask()


def model_of(name, schedule):
    model = tiny(num_layers=2, dropout=0.5)
    model.compile(kseq.clipped_optimizer(name, kseq.schedule(schedule, 0.1, STEPS * EPOCHS)))
    return model


def on_random_batches(folder, **options):
    """Train on what is judged, so that every epoch is the best."""
    model, ids = model_of("adam", "one_cycle"), np.array([1, 2, 3] * 14)
    judged = SequentialBatches(ids, 2, 4)
    return model, kseq.train(
        model, RandomBatches(ids, 3, 4), EPOCHS, validation=judged, run_dir=folder, **options
    )


def on_sequential_batches(folder, **options):
    """Train on other tokens than those judged, so that no epoch is better than the first."""
    model, judged = model_of("sgd", "plateau"), SequentialBatches(np.array([3, 4] * 10), 2, 4)
    batches = SequentialBatches(np.array([1, 2] * 21), 3, 4)
    options = {"validation": judged, "plateau": 1, "keep": "last", **options}
    return model, kseq.train(model, batches, EPOCHS, run_dir=folder, **options)


def without_validation(folder, **options):
    return on_sequential_batches(folder, validation=None, patience=3, **options)


def regularised(folder, **options):
    """Train with all that the literature adds, judged so that averaging begins on the way."""
    model = tiny("lstm", num_layers=2, embedding_dim=4, **EVERYTHING)
    model.compile(kseq.clipped_optimizer("asgd", 0.5, nonmonotone=1))
    judged = SequentialBatches(np.array([3, 4] * 10), 2, 4)
    # Three batches in every epoch, their lengths drawn.
    batches = SequentialBatches(np.array([1, 2] * 17), 3, 4, num_steps_spread=1)
    options = {"validation": judged, "keep": "last", **options}
    return model, kseq.train(model, batches, EPOCHS, run_dir=folder, **options)


def without_times(records):
    return [{k: v for k, v in record.items() if k not in TIMES} for record in records]


def state_of(model):
    variables = (*model.variables, *model.optimizer.variables)
    return [keras.ops.convert_to_numpy(variable.value) for variable in variables]


def checkpoints(folder):
    return sorted(path.name for path in folder.glob("checkpoint-*.npz"))


@contextmanager
def noted(words):
    """Check that the user is warned; Keras's own warnings may be among ours."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    assert [str(w.message) for w in caught if words in str(w.message)]


class Whole:
    """A training that nothing stopped."""

    def __init__(self, train, folder):
        self.train, self.folder = train, folder
        self.model, self.run = train(folder)

    def stopped(self, folder, **ask):
        with pytest.raises(KeyboardInterrupt):
            self.train(folder, resume=True, callbacks=[Ask(**ask)])

    def resumed(self, folder, **options):
        """Go on, and compare with the one that was never stopped."""
        model, run = self.train(folder, resume=True, **options)
        assert without_times(run.records) == without_times(self.run.records)
        assert same(state_of(model), state_of(self.model))
        assert model.provenance.to_dict() == self.model.provenance.to_dict()
        return run


WHOLE = {
    "random": on_random_batches,
    "sequential": on_sequential_batches,
    "alone": without_validation,
    "regularised": regularised,
}


# Engines that compile do so for each length of a batch.
ENGINE = keras.backend.backend()
COSTS = () if ENGINE == "torch" else (pytest.mark.slow, pytest.mark.engine(ENGINE))
CASES = [pytest.param(name, marks=COSTS if name == "regularised" else ()) for name in WHOLE]


@pytest.fixture(scope="module", params=CASES)
def whole(request, tmp_path_factory):
    return Whole(WHOLE[request.param], tmp_path_factory.mktemp(request.param) / "run")


@pytest.fixture(scope="module")
def random(tmp_path_factory):
    return Whole(on_random_batches, tmp_path_factory.mktemp("random") / "run")


# To the bit: with dropout, an optimizer that remembers, schedules, shuffling and carried state.


# Engines that compile take seconds for each training.
PLACES = (
    [1, STEPS - 1, STEPS, STEPS + 2, STEPS * EPOCHS] if keras.backend.backend() == "torch" else [2]
)


@pytest.mark.parametrize("step", PLACES)
def test_a_training_stopped_after_any_step_ends_as_if_it_was_not(whole, tmp_path, step):
    whole.stopped(tmp_path, step=step)
    whole.resumed(tmp_path)


@pytest.mark.parametrize("event", ["judging begins", "judging", "epoch ends"])
def test_a_training_stopped_while_it_judges_ends_as_if_it_was_not(random, tmp_path, event):
    random.stopped(tmp_path, event=event, epoch=1)
    random.resumed(tmp_path)


@pytest.mark.engine("torch")
@pytest.mark.parametrize("event", ["judging begins", "judging", "epoch ends"])
def test_a_training_stopped_while_it_judges_averages_ends_as_if_it_was_not(tmp_path, event):
    whole = Whole(regularised, tmp_path / "whole")
    averaged = int(keras.ops.convert_to_numpy(whole.model.optimizer.averaged_steps))
    assert averaged >= STEPS  # an epoch at least was judged by its averages
    whole.stopped(tmp_path / "stopped", event=event, epoch=EPOCHS - 1)
    whole.resumed(tmp_path / "stopped")


@pytest.mark.engine("torch")
def test_a_training_stopped_after_every_step_ends_as_if_it_was_not(random, tmp_path):
    for _ in range(STEPS * EPOCHS):
        random.stopped(tmp_path, step=1)
    # Nothing was trained twice: all that is left is to judge the last epoch.
    random.resumed(tmp_path, callbacks=[Interrupt(step=1)])


def test_a_training_that_was_killed_goes_on_from_its_last_checkpoint(random, tmp_path):
    with pytest.raises(RuntimeError, match="killed"):
        random.train(
            tmp_path, checkpoint_steps=2, checkpoint_seconds=None, callbacks=[Fail(step=STEPS + 2)]
        )
    # Steps 2 and 4 left a checkpoint, the third step of the first epoch that of a whole epoch.
    assert [int(name.split("-")[1]) for name in checkpoints(tmp_path)] == [2, STEPS + 2]
    random.resumed(tmp_path)


class Fail(Ask):
    def ask(self):
        raise RuntimeError("killed")


@files_alone
def test_only_what_was_not_done_is_trained(random, tmp_path):
    random.stopped(tmp_path, step=STEPS + 1)
    counter = Ask()
    run = random.resumed(tmp_path, callbacks=[counter])
    assert counter.steps == STEPS * EPOCHS - (STEPS + 1)
    # The time before the stop counts.
    before = json.loads((tmp_path / "history.json").read_text())["epochs"][0]["seconds"]
    assert run.records[0]["seconds"] == before


@files_alone
def test_the_seconds_of_an_epoch_are_those_before_and_after_a_stop(random, tmp_path):
    random.stopped(tmp_path, step=2)
    path = max(tmp_path.glob("checkpoint-*.npz"))
    checkpoint = read_checkpoint(path)
    checkpoint.facts["cursor"]["seconds"] += 1000.0
    write_checkpoint(tmp_path, checkpoint, None)
    run = random.resumed(tmp_path)
    assert run.records[0]["seconds"] > 1000 > run.records[1]["seconds"]


# When checkpoints are written.


@files_alone
def test_a_short_training_writes_one_at_its_end(random):
    assert len(checkpoints(random.folder)) == 1
    assert {path.name for path in random.folder.iterdir()} == FILES | {*checkpoints(random.folder)}


@files_alone
def test_checkpoints_by_time_are_as_many_as_they_may_cost(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpointing, "LEAST_SHARE", 0)
    often, rarely = tmp_path / "often", tmp_path / "rarely"
    with pytest.raises(RuntimeError):
        on_random_batches(often, checkpoint_seconds=1e-9, callbacks=[Fail(step=STEPS + 2)])
    # One before every step that was begun.
    assert [int(name.split("-")[1]) for name in checkpoints(often)] == [4, 5]
    monkeypatch.setattr(checkpointing, "LEAST_SHARE", 1e9)
    with pytest.raises(RuntimeError):
        on_random_batches(rarely, checkpoint_seconds=1e-9, callbacks=[Fail(step=STEPS + 2)])
    assert len(checkpoints(rarely)) == 1


@files_alone
def test_without_an_interval_only_the_end_is_written(tmp_path):
    with pytest.raises(RuntimeError):
        on_random_batches(tmp_path, checkpoint_seconds=None, callbacks=[Fail(step=5)])
    assert list(tmp_path.iterdir()) == []


def test_a_finished_training_is_only_read(random):
    before = {path: path.read_bytes() for path in random.folder.iterdir()}
    resumed, again = random.train(random.folder, resume=True)
    assert again == random.run
    assert same(resumed.get_weights(), random.model.get_weights())
    assert {path: path.read_bytes() for path in random.folder.iterdir()} == before


def test_the_folder_holds_what_the_run_did(whole):
    model, run, folder = whole.model, whole.run, whole.folder
    history = json.loads((folder / "history.json").read_text("utf-8"))
    assert history == run.to_dict()
    assert history["best_epoch"] == run.best_epoch
    best = kseq.load_model(folder / "best.keras")
    assert best.provenance.results["epoch"] == run.best_epoch
    assert best.provenance.epochs == model.provenance.epochs == len(run.records)
    if run.best_epoch == EPOCHS:
        assert same(best.get_weights(), model.get_weights())
    settings = json.loads((folder / "settings.json").read_text("utf-8"))
    expected = (model.cell, 3, 4)
    assert (settings["cell"], settings["batch_size"], settings["num_steps"]) == expected


def test_the_best_model_so_far_is_there_after_a_stop(whole, tmp_path):
    whole.stopped(tmp_path, step=2 * STEPS + 1)
    best = kseq.load_model(tmp_path / "best.keras")
    losses = [record.get("val_loss", record["loss"]) for record in whole.run.records[:2]]
    assert best.provenance.results["epoch"] == 1 + int(np.argmin(losses))


@files_alone
def test_a_stop_between_the_best_model_and_the_checkpoint_loses_neither(tmp_path, monkeypatch):
    def full(*_):
        raise FileError("no space left")

    whole, run = short(tmp_path / "whole", epochs=2)
    with monkeypatch.context() as patch:
        patch.setattr(folder, "write_checkpoint", full)
        with pytest.raises(FileError, match="no space left"):
            short(tmp_path / "run", epochs=2)
    short(tmp_path / "run", epochs=2, resume=True)
    found, expected = (kseq.load_model(tmp_path / n / "best.keras") for n in ("run", "whole"))
    assert same(found.get_weights(), expected.get_weights())
    assert run.best_epoch == 2
    assert same(found.get_weights(), whole.get_weights())


@files_alone
def test_a_best_model_not_written_before_a_kill_is_written_after_it(tmp_path):
    with pytest.raises(RuntimeError):
        on_sequential_batches(tmp_path, checkpoint_steps=1, callbacks=[Fail(step=STEPS + 2)])
    assert not (tmp_path / "best.keras").exists()
    # No epoch is better than the first, which was before the kill.
    on_sequential_batches(tmp_path, resume=True)
    assert kseq.load_model(tmp_path / "best.keras").provenance.results["epoch"] == 1


# Checkpoints that are damaged.


@files_alone
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(random, tmp_path):
    with pytest.raises(RuntimeError):
        random.train(
            tmp_path, checkpoint_steps=2, checkpoint_seconds=None, callbacks=[Fail(step=STEPS + 2)]
        )
    newest = tmp_path / checkpoints(tmp_path)[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    with noted("must be a whole checkpoint, found another SHA-256"):
        random.resumed(tmp_path)
    assert newest.name not in checkpoints(tmp_path)


@files_alone
def test_a_run_without_a_whole_checkpoint_is_refused_and_left_as_it_is(random, tmp_path):
    random.stopped(tmp_path, step=1)
    for name in checkpoints(tmp_path):
        (tmp_path / name).write_bytes(b"")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(FileError, match=r"must be a whole checkpoint, found .*; take the folder "):
        random.train(tmp_path, resume=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_weights_that_are_not_finite_are_no_place_to_go_on_from(tmp_path):
    class Spoil(Ask):
        def ask(self):
            # A guarded optimizer never does this.  On JAX asking for the model updates it.
            model = self.model
            model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])

    model = model_of("adam", "one_cycle")
    with pytest.raises(NumericalError, match=r"must stay finite, found .* step \d of epoch 2"):
        kseq.train(
            model,
            RandomBatches(np.array([1, 2, 3] * 14), 3, 4),
            EPOCHS,
            run_dir=tmp_path,
            checkpoint_steps=1,
            callbacks=[Spoil(step=STEPS + 2)],
        )
    # The last good ones are kept.
    assert [int(name.split("-")[1]) for name in checkpoints(tmp_path)] == [STEPS + 1, STEPS + 2]


# Small models that train for one epoch: what a folder refuses, and what it forgets.

CORPUS = Corpus.from_text("abcdef" * 7, name="letters")


def short(run_dir, model=None, batches=None, epochs=1, **options):
    model = model or tiny()
    if not model.compiled:
        model.compile(kseq.clipped_optimizer("sgd", 0.5))
    batches = batches or SequentialBatches(CORPUS, 3, 4)
    options = {"keep": "last", **options}
    return model, kseq.train(model, batches, epochs, run_dir=run_dir, **options)


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


def tiny_with(name="sgd", rate=0.5, **options):
    model = tiny()
    model.compile(kseq.clipped_optimizer(name, rate, **options))
    return model


def of_the_same_letters():
    return kseq.LanguageModel(Vocab(list("fedcba")), "simple_rnn", UNITS, 1)


OTHERS = {
    "units 6 then and 7 now": lambda: {"model": tiny(units=7)},
    "cell 'simple_rnn' then and 'gru' now": lambda: {"model": tiny("gru")},
    "dtype 'float32' then and 'mixed_bfloat16' now": lambda: {
        "model": tiny(dtype="mixed_bfloat16")
    },
    "num_steps 4 then and 5 now": lambda: {"batches": SequentialBatches(CORPUS, 3, 5)},
    "batches_seed 0 then and 1 now": lambda: {"batches": SequentialBatches(CORPUS, 3, 4, 1)},
    "'SequentialBatches' then and 'RandomBatches' now": lambda: {
        "batches": RandomBatches(CORPUS, 3, 4)
    },
    "init 'keras' then and 'd2l' now": lambda: {"model": tiny(init="d2l")},
    "vocabulary '[0-9a-f]{16}' then and '[0-9a-f]{16}' now": lambda: {
        "model": of_the_same_letters()
    },
    "update momentum 0.0 then and 0.9 now": lambda: {"model": tiny_with(momentum=0.9)},
    "update weight_decay None then and 0.1 now": lambda: {"model": tiny_with(weight_decay=0.1)},
    "validation tokens 0 then and 42 now": lambda: {"validation": CORPUS},
    "patience None then and 2 now": lambda: {"patience": 2},
    "plateau None then and 1 now": lambda: {"plateau": 1},
    "keep 'last' then and 'best' now": lambda: {"keep": "best"},
    "tokens 42 then and 40 now": lambda: {
        "batches": SequentialBatches(CORPUS.divide(40, 0)[0], 3, 4)
    },
}


@files_alone
@pytest.mark.parametrize("difference", OTHERS)
def test_other_settings_are_refused_by_name(begun, difference):
    words = f"a resumed run must keep its settings, found .*{difference}.*; use the same, or "
    with pytest.raises(UsageError, match=words) as raised:
        short(begun, resume=True, **OTHERS[difference]())
    assert str(raised.value).count(" then and ") == 1


@files_alone
def test_every_difference_is_named(begun):
    model = tiny("lstm", dropout=0.5)
    model.compile(kseq.clipped_optimizer("adam", 0.25, global_clipnorm=2.0))
    with pytest.raises(UsageError) as raised:
        short(begun, model, resume=True)
    for name in ("cell", "dropout", "optimizer", "learning_rate", "clipping"):
        assert f"{name} " in str(raised.value)


@files_alone
def test_a_text_that_changed_is_refused(begun):
    other = Corpus.from_text("fedcba" * 7).with_vocab(CORPUS.vocab)
    with pytest.raises(DataError, match="a resumed run must keep its text, found another"):
        short(begun, batches=SequentialBatches(other, 3, 4), resume=True)


@files_alone
def test_other_ids_as_many_are_another_text(tmp_path):
    ids = np.array([1, 2, 3] * 14)
    short(tmp_path, batches=SequentialBatches(ids, 3, 4))
    short(tmp_path, batches=SequentialBatches(ids.astype("uint8"), 3, 4), resume=True)
    with pytest.raises(DataError, match="a resumed run must keep its text, found another"):
        short(tmp_path, batches=SequentialBatches(ids[::-1], 3, 4), resume=True)


@files_alone
def test_another_part_to_judge_by_is_refused_be_it_as_long(tmp_path):
    judged = [SequentialBatches(np.array(pair * 10), 2, 4) for pair in ([3, 4], [4, 3])]
    short(tmp_path, validation=judged[0])
    words = r"found validation sha256 '[0-9a-f]{16}' then and '[0-9a-f]{16}' now; use"
    with pytest.raises(UsageError, match=words):
        short(tmp_path, validation=judged[1], resume=True)


@files_alone
def test_a_run_of_an_earlier_version_goes_on_with_what_it_wrote_down(copy):
    path = copy / "settings.json"
    settings = json.loads(path.read_text())
    for name in ("ids", "vocabulary", "validation", "patience", "plateau", "keep", "update"):
        del settings[name]
    path.write_text(json.dumps(settings))
    short(copy, tiny_with(weight_decay=0.1), patience=2, keep="best", resume=True)
    with pytest.raises(UsageError, match=r"found learning_rate 0\.5 then and 0\.25 now; use"):
        short(copy, tiny_with(rate=0.25), resume=True)


def test_the_same_model_in_the_same_program_goes_on(tmp_path):
    whole, run = short(tmp_path / "whole", epochs=3)
    model = tiny()
    with pytest.raises(KeyboardInterrupt):
        short(tmp_path / "run", model, epochs=3, callbacks=[Ask(step=4)])
    _, again = short(tmp_path / "run", model, epochs=3, resume=True)
    assert without_times(again.records) == without_times(run.records)
    assert same(model.get_weights(), whole.get_weights())


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_goes_on_to_the_bit(tmp_path, dtype):
    def half():
        return tiny("lstm", 2, dropout=0.5, dtype=dtype)

    whole, run = short(tmp_path / "whole", half(), epochs=2)
    with pytest.raises(KeyboardInterrupt):
        short(tmp_path / "run", half(), epochs=2, callbacks=[Ask(step=2)])
    model, again = short(tmp_path / "run", half(), epochs=2, resume=True)
    assert without_times(again.records) == without_times(run.records)
    assert same(state_of(model), state_of(whole))


@files_alone
def test_a_run_may_go_on_longer_than_it_was_planned(copy, tmp_path):
    model, run = short(tmp_path / "whole", epochs=2)
    resumed, again = short(copy, epochs=2, resume=True)
    assert without_times(again.records) == without_times(run.records)
    assert same(resumed.get_weights(), model.get_weights())


@files_alone
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


# The folder: what is in it is never lost before there is something new.


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*[a-z]")}


@files_alone
def test_a_new_run_that_ends_before_its_first_checkpoint_gives_the_old_one_back(copy):
    before = contents(copy)
    with pytest.raises(RuntimeError):
        short(copy, callbacks=[Fail(step=1)], overwrite=True)
    assert contents(copy) == before


@files_alone
def test_a_new_run_takes_the_place_of_the_old_one_when_it_has_finished(copy):
    (copy / "notes.txt").write_text("mine")
    before, files = checkpoints(copy), {"history.json", "settings.json", "notes.txt"}
    with noted("keeps the run that was here before"), pytest.raises(KeyboardInterrupt):
        short(copy, tiny(seed=1), callbacks=[Ask(step=1)], overwrite=True)
    assert not {*before} & {*checkpoints(copy)}
    found = {path.name for path in copy.iterdir()}
    assert found == {*checkpoints(copy), *files, ".earlier-0001"}
    assert checkpoints(copy / ".earlier-0001") == before
    short(copy, tiny(seed=1), resume=True)
    found = {path.name for path in copy.iterdir()}
    assert found == {*checkpoints(copy), *files, "best.keras"}


@files_alone
def test_an_earlier_run_is_only_replaced_where_that_is_asked_for(copy):
    before = contents(copy)
    words = "must hold no earlier run, found checkpoint-.*; pass resume=True .*overwrite=True"
    with pytest.raises(UsageError, match=words):
        short(copy)
    with pytest.raises(UsageError, match="resume: must stand without overwrite, found both"):
        short(copy, resume=True, overwrite=True)
    assert contents(copy) == before


@files_alone
def test_an_old_run_that_a_killed_one_set_aside_is_given_back(copy):
    before = contents(copy)
    aside = copy / ".earlier-abc"
    aside.mkdir()
    for path in sorted(copy.iterdir()):
        if path.is_file():
            path.rename(aside / path.name)
    with pytest.raises(RuntimeError):
        short(copy, callbacks=[Fail(step=1)], overwrite=True)
    assert contents(copy) == before


@files_alone
def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        FileError, match="file/run: the folder must exist and be writable, found Not a "
    ):
        short(tmp_path / "file" / "run")


@files_alone
def test_settings_that_are_broken_are_named(copy):
    (copy / "settings.json").write_text("{")
    with pytest.raises(FileError, match=r"settings\.json: must hold the run's facts, found it "):
        short(copy, resume=True)


@files_alone
def test_a_history_that_cannot_be_written_stops_nothing(tmp_path, monkeypatch):
    write = folder.write_text

    def full(path, content):
        if path.name == "history.json":
            raise FileError("no space left")
        write(path, content)

    monkeypatch.setattr(folder, "write_text", full)
    with noted("the history is not written, training goes on: no space left"):
        _, run = short(tmp_path)
    assert len(run.records) == 1
    assert len(checkpoints(tmp_path)) == 1
