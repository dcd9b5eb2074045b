"""The benchmark runs every contender, round after round, and its result says what it measured."""

import io
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from benchmark_cases import SIZES, workers_here

from kseq.backend import ENGINES
from kseq.benchmark import cases as cases_room
from kseq.benchmark import processes, running
from kseq.benchmark.cases import SUBJECTS, Case, cases
from kseq.benchmark.layers import unequal_ends
from kseq.benchmark.measuring import Repeated, Spread, in_unit
from kseq.benchmark.processes import WorkerError, WorkerProcess, output_of, workers
from kseq.benchmark.result import Result, ratios
from kseq.benchmark.running import Plan, benchmark
from kseq.benchmark.start_up import start_ups
from kseq.benchmark.table import in_words
from kseq.benchmark.worker import Worker, serve
from kseq.cli import benchmark_options
from kseq.errors import UsageError

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")


def tiny(subject, quick=True, **changes):
    found = next(case for case in cases(quick=quick) if case.subject == subject)
    return replace(found, **{**SIZES, **changes})


@pytest.fixture
def worker():
    worker = Worker()
    yield worker
    worker.close()


# Cases


def test_cases_are_named_once():
    names = [case.name for case in cases()]
    assert len(names) == len(set(names))


def test_quick_leaves_out_what_costs_most():
    quick, whole = cases(quick=True), cases()
    assert len(quick) < len(whole) / 3
    assert {case.subject for case in quick} == {"training", "generation", "overhead"}
    assert {case.subject for case in whole} == {*SUBJECTS, "layers"} - {"start-up"}


@pytest.mark.parametrize(("given", "word"), [("subjects", "trainning"), ("cells", "ltsm")])
def test_unknown_names_are_refused(given, word):
    with pytest.raises(UsageError, match=f"{given}: must be .* found '{word}'; did you mean"):
        cases(**{given: [word]})


def test_scaling_changes_one_size_at_a_time():
    plain = Case("scaling", "")
    for case in cases(["scaling"]):
        given = {axis: getattr(case, axis) for axis in cases_room.AXES}
        changed = [axis for axis, size in given.items() if size != getattr(plain, axis)]
        assert changed in ([], [case.axis])


# Measuring


def test_a_measurement_lasts_and_counts_its_calls():
    calls = []
    done, seconds = Repeated(lambda: calls.append(1), amount=5).measure(0.01)

    assert done == 5 * len(calls)
    assert seconds >= 0.01


def test_units():
    assert Spread.of([4.0, 1.0, 2.0, 3.0]) == Spread(2.5, 1.0, 4.0)
    assert in_unit(10, 0.5, "tokens/s") == 20
    assert in_unit(10, 0.5, "ms") == 50


def test_ratios_are_above_1_for_what_is_better():
    medians = {("torch", "d2l loop"): 10.0, ("torch", "keras"): 4.0, ("jax", "keras"): 8.0}
    more = ratios(20.0, medians, "tokens/s")
    fewer = ratios(20.0, medians, "ms")

    assert more == {"d2l loop": 2.0, "best of Keras": 2.5}
    assert fewer == {"d2l loop": 0.5, "best of Keras": 0.2}


def test_rows_end_at_different_steps():
    lengths = unequal_ends(4, 10).sum(1)
    assert lengths.tolist() == [5, 7, 8, 10]
    assert (np.diff(unequal_ends(4, 10).astype(int)) <= 0).all()


# Contenders

EXPECTED = {
    "training": {"kseq", "keras"},
    "generation": {"kseq", "keras"},
    "overhead": {"kseq", "keras"},
}
OF_TORCH = {
    "training": {"d2l loop", "expert loop", "products alone"},
    "generation": {"expert loop", "d2l loop"},
    "overhead": {"d2l loop"},
}


@pytest.mark.parametrize("subject", list(EXPECTED))
def test_every_contender_works(subject, engine, worker):
    changes = {"batch_size": 1} if subject == "generation" else {}
    case = tiny(subject, num_layers=1, **changes)
    opened = worker.open(asdict(case))

    assert opened["failed"] == {}
    of_engine = OF_TORCH[subject] if engine == "torch" else set()
    assert EXPECTED[subject] | of_engine <= set(opened["names"])
    for name in opened["names"]:
        answer = worker.measure(name, 0.0)
        assert answer["amount"] > 0
        assert answer["seconds"] > 0


@pytest.mark.engine("torch")
@pytest.mark.parametrize("cell", ["lstm", "gru", "simple_rnn"])
def test_every_setting_of_a_layer_works(cell, worker):
    opened = worker.open(asdict(replace(tiny("layers", quick=False), cell=cell)))

    assert opened["failed"] == {}
    assert {*cases_room.CLIFFS} <= set(opened["names"])
    assert ("reset before" in opened["names"]) == (cell == "gru")


@pytest.mark.engine("torch")
def test_words_are_tied_in_every_contender(worker):
    opened = worker.open(asdict(tiny("training", tied=True)))
    assert opened["failed"] == {}
    assert "products alone" in opened["names"]


@pytest.mark.engine("torch")
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_memory_of_one_contender_is_told(dtype, worker):
    case = tiny("training", dtype=dtype)
    assert worker.memory(asdict(case), "kseq")["mib"] >= 0


def test_a_contender_that_fails_is_told_and_the_others_go_on(monkeypatch, worker):
    from kseq.benchmark import training

    def broken(case):
        raise ValueError("no\nluck")

    monkeypatch.setattr(training, "keras_fit", broken)
    opened = worker.open(asdict(tiny("training")))

    assert opened["failed"] == {"keras": "ValueError: no luck"}
    assert "kseq" in opened["names"]


def test_a_worker_answers_line_by_line():
    asked = [{"ask": "close"}, {"ask": "measure", "name": "nobody", "seconds": 0}, {"ask": "close"}]
    answers = io.StringIO()
    serve(io.StringIO("".join(json.dumps(line) + "\n" for line in asked)), answers)

    found = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert found == [{}, {"cause": "KeyError: 'nobody'"}, {}]


# Processes


def test_a_process_that_fails_is_told_by_its_last_word():
    with workers(["theano"], threads=1) as (child,):
        with pytest.raises(WorkerError, match=r"theano: ended with 1: .*KERAS_BACKEND: must be"):
            child.ask("close")
        assert not child.alive


def test_processes_end_with_the_block():
    with pytest.raises(KeyboardInterrupt), workers(["torch", "torch"], threads=1) as started:
        raise KeyboardInterrupt
    assert [child.process.poll() is None for child in started] == [False, False]


def test_a_process_answers_and_can_be_lost(engine):
    child = WorkerProcess(engine, threads=1)
    try:
        assert child.ask("close") == {}
        with pytest.raises(WorkerError, match="KeyError: 'nobody'"):
            child.ask("measure", name="nobody", seconds=0)
        child.process.kill()
        with pytest.raises(WorkerError, match=f"{engine}: ended with -9"):
            child.ask("close")
    finally:
        child.end()


def test_what_a_fresh_process_says():
    assert output_of(("-c", "print(6 * 7)"), "torch", 1) == "42\n"
    with pytest.raises(WorkerError, match="ended with 3: no word"):
        output_of(("-c", "raise SystemExit(3)"), "torch", 1)


def test_importing_kseq_is_measured():
    by_name = {each.name: each for each in start_ups(quick=True)}
    assert 0 < by_name["import kseq"].value("torch", 1) < 60_000
    assert by_name["kseq --help"].value("torch", 1) > 0


# A whole run


@pytest.fixture
def asked(monkeypatch, engine):
    asked = []
    monkeypatch.setattr(running, "workers", workers_here(engine, asked))
    # A loaded machine is late, and a late run leaves rounds out.
    monkeypatch.setattr(running._Clock, "is_late", lambda _: False)
    return asked


def plan_of(engine, **changes):
    settings = {"subjects": ("training",), "cells": ("gru",), "quick": True, "rounds": 2}
    return Plan((engine,), seconds=0.001, threads=1, sizes=SIZES, **{**settings, **changes})


def test_every_contender_is_measured_once_a_round(asked, engine):
    result = benchmark(plan_of(engine))

    order = [name for _, question, name in asked if question == "measure"]
    assert order[: len(order) // 2] == order[len(order) // 2 :]
    assert len(set(order)) == len(order) // 2
    assert [row.contender for row in result.rows] == order[: len(order) // 2]
    assert {row.rounds for row in result.rows} == {2}
    assert result.failures == []
    for row in result.rows:
        assert row.min <= row.median <= row.max
    keras = next(row for row in result.rows if row.contender == "keras")
    assert keras.ratios["best of Keras"] == 1.0


def test_time_left_is_told(asked, engine):
    told = []
    plan = plan_of(engine)
    benchmark(plan, lambda name, left: told.append((name, left)))

    assert [name for name, _ in told] == ["training, gru"]
    assert 0 < told[0][1] <= plan.expected_seconds()


@pytest.mark.parametrize(("quick", "rounds"), [(True, 1), (False, 2)])
def test_a_quick_run_that_is_late_measures_once(monkeypatch, asked, engine, quick, rounds):
    monkeypatch.setattr(running._Clock, "is_late", lambda clock: True)
    monkeypatch.setattr(Plan, "cases", lambda plan: [tiny("training")])
    monkeypatch.setattr(Plan, "memory_cases", lambda plan: [])
    result = benchmark(plan_of(engine, quick=quick))

    assert {row.rounds for row in result.rows} == {rounds}


def test_an_engine_that_is_lost_is_told_and_the_others_go_on(monkeypatch, engine):
    lost = "jax" if engine != "jax" else "torch"
    stand_in = workers_here(engine, [], dead=(lost,))
    monkeypatch.setattr(running, "workers", stand_in)
    monkeypatch.setattr(running, "find_spec", lambda name: True)

    result = benchmark(replace(plan_of(engine), engines=(engine, lost)))

    assert [(f.engine, f.contender) for f in result.failures] == [(lost, "all")]
    assert "ended with -9" in result.failures[0].cause
    assert {row.engine for row in result.rows} == {engine}
    assert any("ended with -9" in line for line in in_words(result))


def test_engines_that_are_missing_are_left_out(monkeypatch, asked, engine):
    monkeypatch.setattr(running, "find_spec", lambda name: name == engine)
    result = benchmark(replace(plan_of(engine), engines=ENGINES))

    assert {row.engine for row in result.rows} == {engine}
    assert result.skipped == [name for name in ENGINES if name != engine]
    assert any("not installed: " in line for line in in_words(result))


def test_no_engine_at_all_is_an_error(monkeypatch, engine):
    monkeypatch.setattr(running, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"engines: must be installed, .* found none of"):
        benchmark(plan_of(engine))


@pytest.mark.engine("torch")
def test_memory_and_start_up_have_rows_of_their_own(monkeypatch, asked):
    monkeypatch.setattr(processes, "output_of", lambda *_: "5\n")
    monkeypatch.setattr("kseq.benchmark.start_up.output_of", lambda *_: "5\n")
    plan = plan_of("torch", quick=False, subjects=("start-up",))
    result = benchmark(plan)
    assert {row.subject for row in result.rows} == {"start-up"}
    assert {row.median for row in result.rows if row.case != "kseq --help"} == {5.0}

    words = replace(plan, subjects=("training",), cells=("lstm",), quick=False, rounds=1)
    found = running.Result({}, {}, 1, 1, 0.1)
    running._measure_memory(words, found, running._Clock(words, None))
    assert {(row.subject, row.unit, row.median) for row in found.rows} == {("memory", "MiB", 1.5)}


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("engines", ("theano",), "engines: must be"),
        ("subjects", ("speed",), "subjects: must be"),
        ("cells", ("lstmm",), "cells: must be"),
        ("rounds", 0, "rounds: must be"),
        ("threads", -1, "threads: must be"),
        ("seconds", 0.0, "seconds: must be"),
    ],
)
def test_plans_are_checked(field, value, found):
    with pytest.raises(UsageError, match=found):
        Plan(**{field: value})


def test_the_table_says_what_the_dictionary_says():
    result = Result({"processor": "P", "cores": 2}, {"kseq": "1"}, 2, 3, 0.2)
    case = tiny("training")
    values = {("torch", "kseq"): [(300.0, 1.0)], ("torch", "d2l loop"): [(200.0, 1.0)]}
    result.add(case, values)
    result.add_values("memory", "peak memory", "torch", "kseq", "MiB", [12.0])

    rows = result.to_dict()["rows"]
    lines = in_words(result)
    for row in rows:
        start = f"torch: {row['contender']} "
        (line,) = [line for line in lines if line.startswith(start) and row["unit"] in line]
        assert f"{row['median']:#.3g}".rstrip(".") in line
        assert [f"{ratio:.2f}" for ratio in row["ratios"].values()] == line.split()[-1:][
            : len(row["ratios"])
        ]


def test_the_command_line_has_the_library_s_words():
    assert benchmark_options.ENGINES == ENGINES
    assert benchmark_options.SUBJECTS == SUBJECTS
    assert benchmark_options.CELLS == cases_room.CELLS
