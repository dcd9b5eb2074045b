"""One training shared out: places, rows, figures, states and wishes, without a second process."""

import signal
import threading
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from language_cases import VOCAB, draw_ids, tiny, to_numpy

import kseq
from kseq import FileError, RandomBatches, SequentialBatches, UsageError, backend
from kseq.backend.processes import Place, Team, check_place, place
from kseq.cli.processes import in_own_name, speaks
from kseq.nn.sharing import RowsOfBatches, figures_of, set_apart
from kseq.runs.checkpoints import Checkpoint
from kseq.runs.folder import RunFolder
from kseq.runs.settings import settings_of
from kseq.runs.sharing import begun, check_alike, gathered, share_of
from kseq.training.agreeing import check_all_agree, settle, wish
from kseq.training.checkpointing import Checkpointing
from kseq.training.keeper import Keeper
from kseq.training.stopping import Stop

LAUNCHED = {"RANK": "1", "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
IDS = draw_ids(200)
FIRST_OF_TWO = Place(0, 2)


class Told(Team):
    """A team of two, of which the other always says the same."""

    def __init__(self, other, here=FIRST_OF_TWO):
        super().__init__(here)
        self.other = np.asarray(other)

    def total(self, values):
        return np.asarray(values, "float64") + self.other

    def stacked(self, rows):
        return np.concatenate([rows, rows + 100])


def launched(monkeypatch, **changes):
    for name, value in {**LAUNCHED, **changes}.items():
        monkeypatch.setenv(name, value)


# Places.


@pytest.mark.engine("torch")
def test_a_process_reads_its_place_from_the_environment():
    assert place({**LAUNCHED, "LOCAL_RANK": "0"}) == Place(1, 3, 0)
    assert [Place(rank, 3).leads for rank in range(3)] == [True, False, False]


@pytest.mark.engine("torch")
@pytest.mark.parametrize("missing", LAUNCHED)
def test_what_no_launcher_wrote_whole_is_no_place(missing):
    assert place({n: v for n, v in LAUNCHED.items() if n != missing}) == Place()


@pytest.mark.engine("torch")
@pytest.mark.parametrize("rank", ["3", "-1", "first", ""])
def test_a_place_outside_the_team_is_refused(rank):
    with pytest.raises(
        UsageError, match=r"RANK: must be a number below WORLD_SIZE, found .* of '3'"
    ):
        place({**LAUNCHED, "RANK": rank})


def test_engines_that_train_in_one_process_refuse_several(monkeypatch, engine):
    launched(monkeypatch)
    if engine == "torch":
        assert check_place(6) == Place(1, 3, 0)
        return
    with pytest.raises(UsageError, match=rf"must be 1 on {engine}, found 3; train in several"):
        check_place(6)


@pytest.mark.engine("torch")
@pytest.mark.parametrize(("rows", "choice"), [(7, 6), (2, 3)])
def test_rows_that_cannot_be_shared_equally_are_refused_before_any_work(
    monkeypatch, tmp_path, rows, choice
):
    launched(monkeypatch)
    words = f"must be a multiple of the 3 processes, found {rows}; choose {choice}, or"
    with pytest.raises(UsageError, match=words):
        kseq.train(tiny(), SequentialBatches(IDS, rows, 4), run_dir=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.engine("torch")
def test_an_optimizer_that_averages_nothing_is_refused(monkeypatch):
    launched(monkeypatch)
    model = tiny()
    model.compile(keras.optimizers.Lion())
    with pytest.raises(UsageError, match=r"must be one of kseq.clipped_optimizer .* found Lion"):
        kseq.train(model, SequentialBatches(IDS, 3, 4))


@pytest.mark.engine("torch", "tensorflow")
def test_devices_are_shared_on_jax_alone(engine):
    with (
        pytest.raises(UsageError, match=f"data_parallel: must be on JAX, found {engine}; "),
        kseq.data_parallel(),
    ):
        pass


# Rows.


@pytest.mark.engine("torch")
@pytest.mark.parametrize("make", [SequentialBatches, RandomBatches])
@given(rows=some.integers(1, 6), size=some.integers(1, 4), epoch=some.integers(0, 3))
def test_the_rows_of_all_processes_are_the_batch(make, rows, size, epoch):
    whole = make(IDS, rows, 5)
    whole.set_epoch(epoch)
    parts = [RowsOfBatches(make(IDS, rows, 5), Place(rank, size)) for rank in range(size)]
    for part in parts:
        part.set_epoch(epoch)
        assert (len(part), part.carries_state) == (len(whole), whole.carries_state)
        assert part[0][0].shape == (part.batch_size, 5)
    for index, pair in enumerate(whole):
        found = [part[index] for part in parts if not part.is_spare]
        for one, other in zip(zip(*found, strict=True), pair, strict=True):
            np.testing.assert_array_equal(np.concatenate(one), other)


@pytest.mark.engine("torch")
def test_drawn_lengths_are_those_of_the_whole_batch_and_pace_its_steps():
    whole = SequentialBatches(IDS, 4, 10, num_steps_spread=2)
    parts = [RowsOfBatches(whole, Place(rank, 2)) for rank in range(2)]
    assert [part.base_steps for part in parts] == [10, 10]
    for index in range(len(whole)):
        rows = np.concatenate([part.batch(index)[0] for part in parts])
        assert np.array_equal(rows, whole.batch(index)[0])


@pytest.mark.engine("torch")
def test_an_evaluation_of_rows_reads_the_text_from_its_start():
    part = RowsOfBatches(RandomBatches(IDS, 4, 5), Place(1, 2)).from_first_token()
    whole = RandomBatches(IDS, 4, 5, seed=None)
    np.testing.assert_array_equal(part[2][0], whole[2][0][2:])


# Figures.


def test_figures_are_those_of_all_rows():
    """Two models that saw half the rows each have, added up, the figures of one that saw all."""
    models = [tiny() for _ in range(3)]
    batches = [SequentialBatches(IDS, 4, 5), *(None, None)]
    batches[1:] = [RowsOfBatches(batches[0], Place(rank, 2)) for rank in range(2)]
    for model, each in zip(models, batches, strict=True):
        model.compile()
        model.evaluate(each, verbose=0)
    whole, _, others = ([to_numpy(v.value) for v in model.metrics_variables] for model in models)
    found = figures_of(models[1], Told(others))
    np.testing.assert_allclose(sum_pairs(found), sum_pairs(whole), rtol=1e-6)
    spare = figures_of(models[1], Told(others), spare=True)
    np.testing.assert_allclose(sum_pairs(spare), sum_pairs(others), rtol=1e-6)


def sum_pairs(figures):
    """Give total and count of the loss, then nats and tokens as sums of their two parts."""
    total, count, *pairs = (float(each) for each in figures)
    return [total, count, pairs[0] + pairs[1], pairs[2] + pairs[3]]


# States.


@pytest.mark.engine("torch")
def test_a_state_of_all_rows_can_be_shared_out_to_any_number():
    rows = np.arange(24.0).reshape(6, 4)
    arrays = {"carried/0": rows, "metrics/0": np.array(5.0), "model/0": np.ones(3)}
    state = Checkpoint(7, {"engine": "torch"}, arrays)
    for size in (1, 2, 3, 6):
        parts = [share_of(state, Place(rank, size)) for rank in range(size)]
        np.testing.assert_array_equal(np.concatenate([p.arrays["carried/0"] for p in parts]), rows)
        assert sum(float(part.arrays["metrics/0"]) for part in parts) == 5.0
        assert all(part.arrays["model/0"] is arrays["model/0"] for part in parts)


@pytest.mark.engine("torch")
def test_a_state_is_gathered_from_the_rows_of_each():
    model = tiny()
    model.compile()
    model.evaluate(SequentialBatches(IDS, 2, 5), verbose=0)
    own = [to_numpy(v.value) for v in model.metrics_variables]
    state = Checkpoint(0, {}, {"carried/0": np.zeros((2, 3)), "model/0": np.ones(2)})
    found = gathered(state, model, Told(own)).arrays
    np.testing.assert_array_equal(found["carried/0"][:, 0], [0, 0, 100, 100])
    np.testing.assert_allclose(found["metrics/0"], 2 * own[0])
    assert gathered(state, model, Team()) is state


def test_the_seeds_of_dropout_are_set_apart():
    models = [kseq.LanguageModel(VOCAB, "gru", 6, 2, dropout=0.5) for _ in range(3)]
    for rank, model in enumerate(models):
        set_apart(model, rank)
    states = [
        [int(to_numpy(v.value)[0]) for v in model.variables if "seed" in v.path] for model in models
    ]
    fresh = kseq.LanguageModel(VOCAB, "gru", 6, 2, dropout=0.5)
    assert states[0] == [int(to_numpy(v.value)[0]) for v in fresh.variables if "seed" in v.path]
    assert all(len(set(seeds)) == 3 for seeds in zip(*states, strict=True))


# Wishes.


@pytest.mark.engine("torch")
@pytest.mark.parametrize(
    ("other", "asked", "due"),
    [
        ([0, 0, 0], None, False),
        ([1, 0, 0], signal.SIGINT, False),
        ([1, 1, 0], signal.SIGTERM, False),
        ([0, 0, 1], None, True),
    ],
)
def test_all_do_what_one_is_asked_for(other, asked, due):
    stop = Stop(patient=True)
    assert settle(Told(other), stop, is_due=False) is due
    assert stop.asked == asked


@pytest.mark.engine("torch")
def test_a_signal_after_the_message_waits_for_the_next():
    stop, team = Stop(patient=True), Told([0, 0, 0])
    wish(team, stop, is_due=False)
    team.heard = [0, 0, 0]
    stop._note(signal.SIGTERM, None)
    assert (settle(team, stop, is_due=False), stop.asked) == (False, None)
    assert (settle(team, stop, is_due=False), stop.asked) == (False, signal.SIGTERM)


@pytest.mark.engine("torch")
def test_only_the_clock_of_the_first_counts():
    stop = Stop(patient=True)
    assert settle(Told([0, 0, 0], Place(0, 2)), stop, is_due=True)
    assert not settle(Told([0, 0, 0], Place(1, 2)), stop, is_due=True)


# Buckets.


@pytest.mark.engine("torch")
def test_gradients_travel_in_buckets_of_one_dtype(monkeypatch):
    import torch

    from kseq.backend import torch_processes

    monkeypatch.setattr(torch_processes, "BUCKET", 40)
    small, large, half = torch.zeros(4), torch.zeros(20), torch.zeros(4, dtype=torch.bfloat16)
    grads = [small, None, small, small, large, half, half]
    assert torch_processes._buckets(grads) == [[0, 2], [3], [4], [5, 6]]


# What the first finds, and who says it.


class Telling(Team):
    """A team that keeps what is told."""

    def __init__(self, here, heard=None):
        super().__init__(here)
        self.heard_bytes, self.said = heard, []

    def told(self, content):
        self.said.append(content)
        return self.heard_bytes if content is None else content


@pytest.mark.engine("torch")
def test_the_others_get_the_checkpoint_that_the_first_found(tmp_path):
    batches = SequentialBatches(IDS, 2, 5)
    kseq.train(tiny(), batches, 1, run_dir=tmp_path)
    model = tiny()
    model.compile()
    settings = settings_of(model, batches)
    first = Telling(Place(0, 2))
    start = begun(RunFolder(tmp_path), settings, True, first)
    other = begun(RunFolder(None), settings, True, Telling(Place(1, 2), first.said[0]))
    assert (other.position, other.facts) == (start.position, start.facts)
    assert other.arrays.keys() == start.arrays.keys()
    assert begun(RunFolder(None), settings, True, Telling(Place(1, 2))) is None


@pytest.mark.engine("torch")
def test_a_folder_that_the_first_refuses_is_refused_by_all(tmp_path):
    batches = SequentialBatches(IDS, 2, 5)
    kseq.train(tiny(), batches, 1, run_dir=tmp_path)
    first = Telling(Place(0, 2))
    with pytest.raises(UsageError, match="must keep its settings"):
        begun(RunFolder(tmp_path), {"corpus": None, "cell": "gru"}, True, first)
    with pytest.raises(UsageError, match="must be one the first process can use, found"):
        begun(RunFolder(None), {}, True, Telling(Place(1, 2), first.said[0]))


@pytest.mark.engine("torch")
@pytest.mark.parametrize(
    ("started", "alike"),
    [
        # By hand, with who knows what command.
        ({}, True),
        # By torchrun: the first on this machine, which has files of its own, and another.
        ({"TORCHELASTIC_RUN_ID": "none", "LOCAL_RANK": "0"}, True),
        ({"TORCHELASTIC_RUN_ID": "none", "LOCAL_RANK": "1"}, False),
    ],
)
def test_other_processes_speak_of_what_is_theirs_alone(monkeypatch, started, alike):
    launched(monkeypatch, **started)
    assert [speaks(), speaks(UsageError()), speaks(FileError())] == [False, alike, True]
    assert in_own_name("error: x: must be") == "error: process 1 of 3: x: must be"
    assert in_own_name("error: process 1 of 3: must") == "error: process 1 of 3: must"


@pytest.mark.engine("torch")
def test_the_first_process_always_speaks_and_one_without_a_place_too(monkeypatch):
    for rank in (None, "0", "9"):
        if rank:
            launched(monkeypatch, RANK=rank, TORCHELASTIC_RUN_ID="none", LOCAL_RANK="1")
        assert [speaks(), speaks(UsageError())] == [True, True]
        assert in_own_name("error: x: must be") == "error: x: must be"


# That all train the same.


class Threads(Team):
    """One of a team of two, which are threads."""

    def __init__(self, rank, shared):
        super().__init__(Place(rank, 2, rank))
        self.shared, self.barrier = shared

    def _of_both(self, mine):
        self.shared[self.place.rank] = mine
        self.barrier.wait(60)
        both = [self.shared[0], self.shared[1]]
        self.barrier.wait(60)
        return both

    def told(self, content):
        assert (content is not None) == self.leads
        return self._of_both(content)[0]

    def stacked(self, rows):
        return np.concatenate(self._of_both(rows))


def in_both(ask):
    """Let each of a team of two ask; give what they were refused with."""
    shared, found = ({}, threading.Barrier(2)), {}

    def run(rank):
        try:
            ask(Threads(rank, shared))
        except UsageError as error:
            found[rank] = str(error)

    threads = [threading.Thread(target=run, args=[rank]) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


@pytest.mark.engine("torch")
@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"units": 9}, "found units 8 in process 0 and 9 in process 1; start them with the same"),
        ({"spread": 2}, "found spread None in process 0 and 2 in process 1; "),
        ({"text": {"hash": "b", "batches": 4}}, "found text batches 5 in process 0 and 4 in pro"),
        ({str(n): n for n in range(99)}, "found 0 None in process 0 and 0 in process 1, 1 None"),
    ],
)
def test_processes_that_do_not_train_the_same_are_all_told_what_differs(other, words):
    facts = {"units": 8, "rate": 0.1, "text": {"hash": "b", "batches": 5}}
    found = in_both(lambda team: check_alike(facts if team.leads else facts | other, team))
    assert found[0] == found[1]
    assert found[0].startswith("processes: must all train the same, ")
    assert words in found[0]
    assert len(found[0]) < 300
    assert in_both(lambda team: check_alike(dict(facts), team)) == {}


def asking(text=IDS, held_out=None, vocab=VOCAB, epochs=2, steps=None, keeps=False, **judging):
    """Give a process that asks, as `kseq.train` does, whether all train the same."""
    model = kseq.LanguageModel(vocab, "gru", 4, 1)
    model.compile()
    batches = SequentialBatches(text, 2, 5)
    keeper = Keeper(model, epochs, batches.tokens_per_epoch)

    def ask(team):
        checkpointing = Checkpointing(keeper, RunFolder(None), len(batches), Stop(), team)
        checkpointing.set_interval(None, steps)
        settings = settings_of(model, batches, held_out, **judging)
        check_all_agree(checkpointing, batches, held_out, settings, keeps)

    return ask


@pytest.mark.engine("torch")
@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("ids '", {"text": IDS[::-1]}),
        ("tokens 200 in process 0 and 180", {"text": IDS[:-20]}),
        ("validation tokens 0 in process 0 and", {"held_out": SequentialBatches(IDS, 2, 5)}),
        ("vocab", {"vocab": kseq.Vocab(list("abcdeff"))}),
        ("patience None in process 0 and 4 in process 1", {"patience": 4}),
        ("epochs 2 in process 0 and 3 in process 1", {"epochs": 3}),
        ("checkpoint_steps None in process 0 and 7", {"steps": 7}),
        ("run_dir False in process 0 and True", {"keeps": True}),
    ],
)
def test_what_decides_a_training_is_compared(name, other):
    processes = [asking(), asking(**other)]
    found = in_both(lambda team: processes[team.place.rank](team))
    assert found[0] == found[1]
    assert f"must all train the same, found {name}" in found[0]


@pytest.mark.engine("torch")
def test_processes_that_train_the_same_may():
    processes = [asking(held_out=SequentialBatches(IDS, 2, 5)) for _ in range(2)]
    assert in_both(lambda team: processes[team.place.rank](team)) == {}
    asking()(Team())


# GPUs: what PyTorch says of them is made up.


@pytest.fixture
def two_gpus(monkeypatch):
    import torch

    current = [0]
    facts = [SimpleNamespace(total_memory=2**30, name="H", uuid=f"GPU-{n}") for n in range(2)]
    made_up = {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "current_device": lambda: current[0],
        "set_device": lambda number: current.__setitem__(0, number),
        "get_device_properties": lambda gpu: facts[getattr(gpu, "index", gpu)],
    }
    for name, value in made_up.items():
        monkeypatch.setattr(torch.cuda, name, value)


@pytest.mark.engine("torch")
@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("local_rank", [0, 1])
def test_each_process_takes_the_gpu_of_its_number(local_rank):
    from kseq.backend.torch_processes import take_device

    take_device(Place(4 + local_rank, 6, local_rank))
    own = f"cuda:{local_rank}"
    assert [backend.find_device(name).name for name in ("gpu", "cuda", "GPU")] == [own] * 3
    assert backend.best_device().name == own
    assert [backend.find_device(name).name for name in ("cuda:0", "cuda:1", "cpu")] == [
        "cuda:0",
        "cuda:1",
        "cpu",
    ]


def lying_on(number):
    """Give a variable that lies on a GPU, or with None on the CPU."""
    import torch

    where = torch.device("cpu" if number is None else f"cuda:{number}")
    return SimpleNamespace(value=SimpleNamespace(is_cuda=number is not None, device=where))


@pytest.mark.engine("torch")
@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("places", "refused"), [((0, 0), True), ((0, 1), False), ((None, None), False)]
)
def test_processes_on_one_gpu_are_refused(places, refused):
    from kseq.backend.torch_processes import TorchTeam

    found = in_both(
        lambda team: TorchTeam.check_devices(team, [lying_on(places[team.place.rank])] * 2)
    )
    words = "processes: must have a GPU each, found 0, 1 on the same one; start no more"
    assert sorted(found) == ([0, 1] if refused else [])
    assert all(said.startswith(words) for said in found.values())
