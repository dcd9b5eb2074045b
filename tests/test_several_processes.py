"""Several processes train one model as one process does, stop as one, and are missed when gone."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from several_learners import learn, state_of

pytestmark = [
    pytest.mark.engine("torch"),
    pytest.mark.skipif(sys.platform == "win32", reason="gloo processes are started by fork"),
]

slow = pytest.mark.slow
TESTS = Path(__file__).resolve().parent
LONGEST = 240
STEPS = 50  # of every training here: two epochs of 25
TIMES = {"tokens_per_second", "seconds", "seconds_left"}
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def free_port():
    """Give a port below those that the system gives out by itself to others meanwhile."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def place(rank, size, port):
    """Give the environment that torchrun gives a process."""
    return {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "PYTHONPATH": str(TESTS.parent),
        "OMP_NUM_THREADS": "1",
    }


def started(words, size):
    """Start so many processes; give their exit codes and what they said on standard error."""
    port = free_port()
    processes = [
        subprocess.Popen(
            [sys.executable, *map(str, words)],
            env=place(rank, size, port),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    try:
        said = [process.communicate(timeout=LONGEST) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [process.returncode for process in processes], said


def together(folder, size=2, **settings):
    folder.mkdir(exist_ok=True)
    return started([TESTS / "several_learners.py", folder, json.dumps(settings)], size)


def alone(folder, **settings):
    """Train in this process; give its state and records."""
    model, run = learn(folder, **settings)
    return {**state_of(model), "records": run.records}


def of(folder, rank=0):
    found = dict(np.load(folder / f"{rank}.npz"))
    return {**found, "records": json.loads(str(found["records"]))}


def assert_same(found, expected, **close):
    found, expected = dict(found), dict(expected)
    for one, other in zip(found.pop("records"), expected.pop("records"), strict=True):
        names = set(other) - TIMES
        values = [[float(record[name]) for name in sorted(names)] for record in (one, other)]
        np.testing.assert_allclose(*values, **(close or CLOSE))
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], **(close or CLOSE), err_msg=name)


def assert_alike(folder):
    """Check that two processes ended with the same bits, but for the seeds of their dropout."""
    first, second = ({n: a for n, a in of(folder, r).items() if not is_seed(a)} for r in (0, 1))
    assert_same(first, second, rtol=0, atol=0)


def is_seed(array):
    return np.shape(array) == (2,) and np.asarray(array).dtype.kind in "iu"


def checkpoint_steps(folder):
    """Give after how many steps the checkpoints of a run were taken."""
    found = sorted((folder / "run").glob("checkpoint-*.npz"))
    facts = [json.loads(np.load(path)["facts"].tobytes())["cursor"] for path in found]
    return [each["epoch"] * STEPS // 2 + each["batch"] for each in facts]


@pytest.mark.parametrize(
    "settings",
    [
        {"cell": "gru"},
        pytest.param({"cell": "lstm", "optimizer": "sgd", "plateau": 1}, marks=slow),
        pytest.param({"cell": "simple_rnn", "batches": "RandomBatches", "own": True}, marks=slow),
    ],
    ids=lambda settings: settings["cell"],
)
def test_two_processes_train_as_one_with_all_the_rows(tmp_path, settings):
    codes, said = together(tmp_path / "two", **settings)
    assert codes == [0, 0], said
    whole = alone(tmp_path / "one", **settings)
    assert int(whole["optimizer/0"]) == STEPS
    assert_same(of(tmp_path / "two"), whole)
    # The first writes the folder; what the others have is the same to the bit.
    assert_alike(tmp_path / "two")
    assert {path.name for path in (tmp_path / "two").iterdir()} == {"0.npz", "1.npz", "run"}


def test_a_dead_process_ends_the_run_which_one_process_resumes(tmp_path):
    killed = [30, 1, signal.SIGKILL]
    codes, said = together(tmp_path, checkpoint_steps=7, strike=killed)
    assert codes == [5, -signal.SIGKILL]
    assert "process 0 of 2: must hear from all others until the end, found one" in said[0][1]
    assert "; see what that one said, and start all again with --resume" in said[0][1]
    assert checkpoint_steps(tmp_path)[-1] == 28
    assert_same(alone(tmp_path), alone(tmp_path / "whole"))


@slow
def test_all_stop_at_the_step_that_one_is_asked_at_and_resume(tmp_path):
    codes, _ = together(tmp_path, checkpoint_steps=None, strike=[30, 1, signal.SIGTERM])
    assert codes == [143, 143]
    # The wish goes with the next step's gradients.
    assert checkpoint_steps(tmp_path) == [31]
    codes, said = together(tmp_path)
    assert codes == [0, 0], said
    assert_same(of(tmp_path), alone(tmp_path / "whole"))


@slow
def test_a_bad_gradient_in_one_process_is_skipped_by_all(tmp_path):
    codes, said = together(tmp_path, spoil=[30, 1])
    assert codes == [0, 0], said
    assert [record["skipped_steps"] for record in of(tmp_path)["records"]] == [0, 1]
    assert_alike(tmp_path)


@slow
def test_the_dropout_of_each_process_is_its_own(tmp_path):
    codes, said = together(tmp_path, dropout=0.5, epochs=1)
    assert codes == [0, 0], said
    assert_alike(tmp_path)
    first, second = of(tmp_path, 0), of(tmp_path, 1)
    seeds = [name for name, array in first.items() if is_seed(array)]
    assert [name for name in seeds if first[name][0] == second[name][0]] == []
    assert [name for name in seeds if first[name][1] != second[name][1]] == []


@slow
def test_the_command_line_speaks_once(tmp_path):
    run = ["-m", "kseq", "train", "story", "--units", "8", "--num-layers", "1", "--epochs", "1"]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launcher += ["--master-addr", "127.0.0.1", "--master-port", free_port()]
    done = subprocess.run(
        [sys.executable, *map(str, [*launcher, *run]), "--run-dir", str(tmp_path / "run")],
        env={**os.environ, "PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "engine torch, 2 processes" in done.stderr
    assert (done.stderr.count("epoch 1/1"), done.stdout.count("likeliest")) == (1, 1)
    assert {"model.keras", "curve.png"} <= {path.name for path in (tmp_path / "run").iterdir()}
