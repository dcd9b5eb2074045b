"""The run folder: the run in it survives whatever ends the one that is to take its place."""

import json
import os
import random
import shutil
import warnings
from itertools import count

import numpy as np
import pytest
from test_fuzzing import MESSAGE, mutant

from kseq.data.corpora import Corpus, load_corpus
from kseq.data.mapped import MappedIds
from kseq.data.vocab import Vocab
from kseq.errors import DataError, FileError, KseqError, UsageError
from kseq.runs.checkpoints import Checkpoint
from kseq.runs.earlier import can_resume, earlier_runs, outputs_in
from kseq.runs.folder import RunFolder
from kseq.runs.identity import held_out_of, ids_hash
from kseq.runs.records import Run
from kseq.runs.settings import check_same

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

OLD, NEW = {"cell": "gru", "corpus": None}, {"cell": "lstm", "corpus": None}
STEPS = ("rename", "replace", "unlink", "mkdir", "rmdir")
RUN = Run([{"epoch": 1, "loss": 1.0}])


class Killed(BaseException):
    pass


class Death:
    """From one change of the file system on, none is made."""

    def __init__(self, patch, after):
        self.left = after
        for name in STEPS:
            patch.setattr(os, name, self.mortal(getattr(os, name)))

    def mortal(self, change):
        def changed(*places, **options):
            if self.left == 0:
                raise Killed
            self.left -= 1
            return change(*places, **options)

        return changed


def killed(work, after):
    """Whether `work` was killed, after so many changes of the file system."""
    with pytest.MonkeyPatch.context() as patch:
        Death(patch, after)
        try:
            work()
        except Killed:
            return True
    return False


def whole_run(folder, settings, **options):
    """Do what a training does to its folder."""
    run = RunFolder(folder, **options)
    run.begin(settings, resume=False)
    (folder / "best.keras").write_text(settings["cell"])
    run.save(Checkpoint(3, {"cell": settings["cell"]}, {"x": np.zeros(2)}), RUN)
    run.finish()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def names_in(folder):
    return sorted(path.name for path in outputs_in(folder))


@pytest.fixture
def old(tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    whole_run(folder, OLD)
    (folder / "model.keras").write_text("made with patience")
    (folder / "notes.txt").write_text("mine")
    return folder


def found_in(folder):
    """Go on with whatever run is there; return whose it is."""
    for settings in (OLD, NEW):
        try:
            return RunFolder(folder).begin(settings, resume=True).facts["cell"]
        except UsageError:
            continue
    raise AssertionError("the run is not what it was begun with")


def deaths(old, work, folder):
    """Give a copy of `old` for each place at which `work` can be killed, killed there."""
    for after in count():
        shutil.copytree(old, folder)
        if not killed(lambda: work(folder), after):
            break
        yield after
        shutil.rmtree(folder)
    assert after >= 10


def overwrite(folder):
    whole_run(folder, NEW, overwrite=True)


def test_a_run_overwritten_and_killed_at_any_step_is_there_whole(old, tmp_path):
    before, folder, whose = contents(old), tmp_path / "run", []
    for _ in deaths(old, overwrite, folder):
        told = names_in(folder)
        assert can_resume(folder)
        whose.append(found_in(folder))
        assert names_in(folder) == told
        if whose[-1] == "gru":
            assert contents(folder).items() >= before.items()
            assert earlier_runs(folder) == []
    # Before its first checkpoint the old one is the run of the folder, and then the new one.
    assert whose == sorted(whose)
    assert {*whose} == {"gru", "lstm"}


def test_putting_back_killed_at_any_step_is_done_by_the_next(old, tmp_path):
    before, folder, dead = contents(old), tmp_path / "run", tmp_path / "dead"
    for _ in deaths(old, overwrite, folder):
        if earlier_runs(folder) and not (folder / "best.keras").exists():
            shutil.copytree(folder, dead, dirs_exist_ok=True)
    assert earlier_runs(dead)
    for _ in deaths(dead, lambda place: RunFolder(place).begin(OLD, True), tmp_path / "again"):
        assert can_resume(tmp_path / "again")
        assert found_in(tmp_path / "again") == "gru"
        assert contents(tmp_path / "again").items() >= before.items()


def test_the_earlier_run_is_kept_until_the_new_one_has_finished(old):
    before = contents(old)

    def interrupted():
        with (run := RunFolder(old, overwrite=True)).in_use():
            run.begin(NEW, resume=False)
            run.save(Checkpoint(1, {"cell": "lstm"}, {}), RUN)
            raise KeyboardInterrupt

    words = r"\.earlier-0001: keeps the run that was here before, until this one has finished"
    with pytest.warns(UserWarning, match=words), pytest.raises(KeyboardInterrupt):
        interrupted()
    [kept] = earlier_runs(old)
    assert contents(kept).items() == before.items() - {("notes.txt", b"mine")}
    # Gone on with, it finishes, and what it has replaced goes.
    with (again := RunFolder(old)).in_use():
        assert again.begin(NEW, resume=True).facts == {"cell": "lstm"}
        assert earlier_runs(old) == [kept]
        again.finish()
    assert earlier_runs(old) == []


def test_of_two_runs_to_be_replaced_none_is_lost_before_the_last_has_finished(old):
    for number in (1, 2):
        run = RunFolder(old, overwrite=True)
        run.begin(NEW, resume=False)
        run.save(Checkpoint(number, {"cell": "lstm"}, {}), RUN)
    assert [path.name for path in earlier_runs(old)] == [".earlier-0001", ".earlier-0002"]
    overwrite(old)
    assert earlier_runs(old) == []


@pytest.mark.parametrize("after", [*range(7), 99])
def test_an_error_at_any_step_of_the_beginning_gives_the_earlier_run_back(old, after):
    before = contents(old)

    def failing():
        with (
            (run := RunFolder(old, overwrite=True)).in_use(),
            pytest.MonkeyPatch.context() as patch,
        ):
            Death(patch, after)
            run.begin(NEW, resume=False)
            raise Killed

    with pytest.raises(Killed):
        failing()
    assert contents(old) == before
    assert earlier_runs(old) == []


def test_a_run_is_replaced_by_nobody_who_does_not_say_so(old):
    before = contents(old)
    words = (
        r"old: must hold no earlier run, found checkpoint-.*\.npz; pass resume=True to go on from "
        r"its checkpoint, overwrite=True to replace it, or another run_dir"
    )
    with pytest.raises(UsageError, match=words), (run := RunFolder(old)).in_use():
        run.begin(OLD, resume=False)
    assert contents(old) == before


def test_a_result_without_a_checkpoint_is_not_replaced_by_a_run_to_go_on_with(tmp_path):
    (tmp_path / "model.keras").write_text("made with patience")
    with pytest.raises(UsageError, match=r"found model\.keras; pass overwrite=True to replace it"):
        RunFolder(tmp_path).begin(OLD, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


# What is read, by hashes.


def test_the_ids_of_an_indexed_text_are_known_without_reading_them(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("to be or not to be")
    (tmp_path / "b.txt").write_text("to be or not to do")
    one, again, other = (
        load_corpus(tmp_path / name, cache_dir=tmp_path / "cache", max_tokens=tokens).ids
        for name, tokens in (("a.txt", 10), ("a.txt", 10), ("b.txt", 10))
    )
    part = one.parts([(1, 10)])
    monkeypatch.setattr(type(one.pages), "read", None)
    hashes = [ids_hash(ids) for ids in (one, again, other, part)]
    assert hashes[0] == hashes[1]
    assert len({*hashes}) == 3


def test_ids_of_an_array_are_known_by_each_of_them():
    ids = np.arange(2**20 + 5) % 7
    changed = ids.copy()
    changed[-1] += 1
    assert ids_hash(ids) == ids_hash(ids.astype("uint16")) == ids_hash(MappedIds(ids))
    assert ids_hash(ids) != ids_hash(changed)


def test_held_out_text_is_known_by_its_tokens_and_their_vocabulary():
    train, held_out = Corpus.from_text("banana band and bandana").split(0.5)
    known = held_out_of(held_out)
    assert known["tokens"] == len(held_out)
    assert known == held_out_of(Corpus.from_text("banana band and bandana").split(0.5)[1])
    others = [held_out.with_vocab(Vocab("xyz")), held_out.after(1), train]
    assert all(held_out_of(other)["sha256"] != known["sha256"] for other in others)
    assert held_out_of(None) == {"tokens": 0, "sha256": None}
    assert held_out_of(iter([])) == {"tokens": None, "sha256": None}


# Settings that somebody has altered.

FACTS = {
    "cell": "gru",
    "optimizer": "SGD",
    "tokens": 42,
    "ids": None,
    "corpus": {"sha256": "ab" * 32, "start": 0, "pieces": [0, 42]},
    "validation": {"tokens": 7, "sha256": "cd" * 8},
    "update": {"momentum": 0.9, "nesterov": False},
}


def outcome(folder, settings):
    """Return "resumed" or the class of the error; anything but a kseq error is raised."""
    try:
        with warnings.catch_warnings(), (run := RunFolder(folder)).in_use():
            warnings.simplefilter("ignore", UserWarning)
            assert run.begin(settings, resume=True) is not None
    except KseqError as error:
        found = error
    else:
        return "resumed"
    assert MESSAGE.fullmatch(str(found)), str(found)
    return type(found)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("[]", FileError),
        ("7", FileError),
        ("{", FileError),
        ("[" * 100_000, FileError),
        ("{}", UsageError),
        ('{"corpus": {"a": 1}}', UsageError),
        ('{"corpus": {"sha256": 5}}', UsageError),
        ('{"corpus": [1]}', UsageError),
        ('{"tokens": 42, "corpus": {"sha256": "a\\nb"}}', DataError),
        ('{"validation": 3, "update": [], "ids": {}}', UsageError),
    ],
)
def test_settings_that_are_none_are_refused(old, content, error):
    assert outcome(old, OLD) == "resumed"
    (old / "settings.json").write_text(content)
    assert outcome(old, FACTS) is error


def test_mutants_of_settings_are_refused_or_go_on(old, request):
    seeds, outcomes = [json.dumps(FACTS, indent=2).encode(), json.dumps(OLD).encode()], []
    for number in range(request.config.getoption("--mutants") // 6):
        chance = random.Random(f"settings {number}")
        content = mutant(chance.choice([0, 0, 0, 1]), seeds, chance)
        (old / "settings.json").write_bytes(content)
        try:
            outcomes.append(outcome(old, FACTS))
        except Exception as error:
            raise AssertionError(f"settings {number}: {content[:300]!r}") from error
    for each in ("resumed", FileError, UsageError):
        assert outcomes.count(each) >= len(outcomes) // 50


def test_what_an_earlier_version_did_not_write_down_is_not_compared(tmp_path):
    known = {name: FACTS[name] for name in ("cell", "tokens", "corpus", "optimizer")}
    check_same(tmp_path, known, FACTS)
    check_same(tmp_path, FACTS, known)
    less = {**FACTS, "update": {"momentum": 0.9}}
    check_same(tmp_path, less, FACTS)
    with pytest.raises(UsageError, match=r"found update momentum 0\.9 then and 0\.0 now; use"):
        check_same(tmp_path, less, {**FACTS, "update": {"momentum": 0.0, "nesterov": False}})


def test_a_best_model_that_lost_its_checkpoints_is_not_replaced_unasked(old):
    for path in old.iterdir():
        if path.name not in ("best.keras", "history.json", "settings.json"):
            path.unlink()
    before = contents(old)
    with pytest.raises(UsageError, match=r"must hold no earlier run, found history\.json; pass ov"):
        RunFolder(old).begin(OLD, resume=True)
    assert contents(old) == before


def test_of_two_earlier_runs_the_one_with_a_number_is_the_newer(tmp_path):
    for name in (".earlier-x8f3k", ".earlier-0001", ".earlier-0002"):
        (tmp_path / name).mkdir()
    names = [path.name for path in earlier_runs(tmp_path)]
    assert names == [".earlier-x8f3k", ".earlier-0001", ".earlier-0002"]


def test_how_held_out_batches_would_be_drawn_is_nothing_to_compare():
    from kseq.nn.batches import SequentialBatches

    one, other = (SequentialBatches(np.arange(60) % 5, 2, 5, seed=seed) for seed in (0, 1))
    assert held_out_of(one) == held_out_of(other)
    assert held_out_of(one) != held_out_of(SequentialBatches(np.arange(60) % 4, 2, 5))
