"""A run folder: a training that was stopped goes on as if it had not been, to the bit."""

import json

import keras
import pytest
from language_cases import Interrupt, draw_ids, same, tiny

import kseq
from kseq import Corpus, DataError, FileError, RandomBatches, SequentialBatches, UsageError

TIMES = ("tokens_per_second", "seconds", "seconds_left")
EPOCHS, STEPS = 4, 3
FILES = {"settings.json", "history.json", "checkpoint.keras", "best.keras"}


def model_of(schedule="one_cycle", name="adam", **options):
    model = tiny(num_layers=2, dropout=0.5, **options)
    rate = kseq.schedule(schedule, 0.1, STEPS * EPOCHS)
    model.compile(kseq.clipped_optimizer(name, rate))
    return model


KINDS = {
    "random batches, Adam, one-cycle": (RandomBatches, model_of, {}),
    "sequential batches, SGD, plateau": (
        SequentialBatches,
        lambda: model_of("constant", "sgd"),
        {"plateau": 1},
    ),
}


def without_times(records):
    return [{k: v for k, v in record.items() if k not in TIMES} for record in records]


def state_of(optimizer):
    return [keras.ops.convert_to_numpy(variable.value) for variable in optimizer.variables]


class Case:
    """One way of training, started as often as a test likes."""

    def __init__(self, kind):
        self.batches, self.model, self.options = KINDS[kind]

    def train(self, folder, **options):
        model = self.model()
        run = kseq.train(
            model,
            self.batches(draw_ids(40), 3, 4),
            **{"epochs": EPOCHS, "run_dir": folder, "keep": "last", **self.options, **options},
            validation=SequentialBatches(draw_ids(25, seed=1), 2, 4),
            prompts=["abc"],
            sample_every=2,
        )
        return model, run

    def interrupted(self, folder, **when):
        with pytest.raises(KeyboardInterrupt):
            self.train(folder, callbacks=[Interrupt(**when)])


@pytest.fixture(scope="module", params=KINDS)
def case(request):
    return Case(request.param)


@pytest.fixture(scope="module")
def whole(case, tmp_path_factory):
    """The training that nothing stopped, its folder included."""
    folder = tmp_path_factory.mktemp("whole")
    return *case.train(folder), folder


@pytest.mark.parametrize("when", [{"epoch": 2}, {"step": 2 * STEPS + 2}], ids=str)
def test_a_resumed_training_ends_as_the_one_that_was_not_stopped(case, whole, tmp_path, when):
    model, run, _ = whole
    case.interrupted(tmp_path, **when)
    assert len(json.loads((tmp_path / "history.json").read_text("utf-8"))["epochs"]) == 2
    resumed, again = case.train(tmp_path, resume=True)
    assert without_times(again.records) == without_times(run.records)
    assert same(resumed.get_weights(), model.get_weights())
    assert same(state_of(resumed.optimizer), state_of(model.optimizer))
    assert resumed.provenance.to_dict() == model.provenance.to_dict()
    assert again.records[2]["seconds"] != run.records[2]["seconds"]


@pytest.mark.parametrize("lost", ["best.keras", "checkpoint.keras"])
def test_a_training_stopped_while_it_saves_loses_nothing(case, whole, tmp_path, monkeypatch, lost):
    _, run, _ = whole
    original, saved = kseq.LanguageModel.save, []

    def save(self, path, **options):
        # After the history of the best epoch and before one of its two files.
        if path.name == lost and saved.count("checkpoint.keras") == run.best_epoch - 1:
            raise KeyboardInterrupt
        saved.append(path.name)
        original(self, path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(kseq.LanguageModel, "save", save)
        pytest.raises(KeyboardInterrupt, case.train, tmp_path)
    resumed, again = case.train(tmp_path, resume=True, keep="best")
    assert without_times(again.records) == without_times(run.records)
    assert resumed.provenance.results["epoch"] == run.best_epoch


def test_a_finished_training_is_only_read(case, whole, tmp_path):
    model, run, folder = whole
    before = (folder / "checkpoint.keras").read_bytes()
    resumed, again = case.train(folder, resume=True)
    assert again.records == run.records
    assert same(resumed.get_weights(), model.get_weights())
    assert (folder / "checkpoint.keras").read_bytes() == before


def test_the_folder_holds_what_the_run_did(whole):
    model, run, folder = whole
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


def short(folder, model=None, batches=None, epochs=1, **options):
    model = model or tiny()
    if not model.compiled:
        model.compile(kseq.clipped_optimizer("sgd", 0.5))
    batches = batches or SequentialBatches(draw_ids(40), 3, 4)
    return model, kseq.train(model, batches, epochs, run_dir=folder, **options)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    folder = tmp_path_factory.mktemp("begun")
    short(folder)
    return folder


OTHERS = {
    "units 6 then and 7 now": lambda: {"model": tiny(units=7)},
    "cell 'simple_rnn' then and 'gru' now": lambda: {"model": tiny("gru")},
    "num_steps 4 then and 5 now": lambda: {"batches": SequentialBatches(draw_ids(40), 3, 5)},
    "batches_seed 0 then and 1 now": lambda: {"batches": SequentialBatches(draw_ids(40), 3, 4, 1)},
    "'SequentialBatches' then and 'RandomBatches' now": lambda: {
        "batches": RandomBatches(draw_ids(40), 3, 4)
    },
    "tokens 40 then and 50 now": lambda: {"batches": SequentialBatches(draw_ids(50), 3, 4)},
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


def test_a_text_that_changed_is_refused(tmp_path):
    texts = [Corpus.from_text("abcdef" * 10 + end) for end in "ab"]
    vocab = texts[0].vocab
    for number, corpus in enumerate(texts):
        batches = SequentialBatches(corpus.with_vocab(vocab), 3, 4)
        model = kseq.LanguageModel(vocab, "simple_rnn", 4, 1)
        if number == 0:
            short(tmp_path, model, batches)
        else:
            with pytest.raises(DataError, match="a resumed run must keep its text, found another"):
                short(tmp_path, model, batches, resume=True)


def test_without_resume_the_earlier_run_is_forgotten(tmp_path):
    short(tmp_path, tiny(seed=1), epochs=2)
    with pytest.raises(KeyboardInterrupt):
        short(tmp_path, callbacks=[Interrupt(step=1)])
    assert {path.name for path in tmp_path.iterdir()} == {"settings.json"}
    _, run = short(tmp_path, resume=True)
    assert [record["epoch"] for record in run.records] == [1]


def test_resuming_where_there_is_nothing_begins(tmp_path):
    _, run = short(tmp_path / "new" / "run", resume=True)
    assert len(run.records) == 1
    assert (tmp_path / "new" / "run" / "checkpoint.keras").exists()


def test_a_run_may_go_on_longer_than_it_was_planned(tmp_path):
    model, run = short(tmp_path / "whole", epochs=3)
    short(tmp_path / "parts", epochs=1)
    resumed, again = short(tmp_path / "parts", epochs=3, resume=True)
    assert without_times(again.records) == without_times(run.records)
    assert same(resumed.get_weights(), model.get_weights())


def test_a_run_that_ran_out_of_patience_stays_stopped(tmp_path):
    def stuck():
        model = tiny()
        for layer in model.stack.recurrent:
            layer.trainable = False
        model.compile(kseq.clipped_optimizer("sgd", 1e-30))
        return model

    batches = SequentialBatches(draw_ids(40), 3, 4, seed=None)
    _, run = short(tmp_path, stuck(), batches, epochs=9, patience=1)
    _, again = short(tmp_path, stuck(), batches, epochs=9, patience=1, resume=True)
    assert run.stopped_early
    assert again == run
    assert len(run.records) == 2


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="file/run: the run folder must be writable, found Not a "):
        short(tmp_path / "file" / "run")


def test_a_history_that_is_broken_is_named(tmp_path):
    short(tmp_path)
    (tmp_path / "history.json").write_text("{")
    with pytest.raises(FileError, match=r"history\.json: must hold the run's facts, found it "):
        short(tmp_path, resume=True)
