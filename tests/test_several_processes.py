"""Several processes train one model as one process does, stop as one, and are missed when gone."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from children import LONGEST
from several_learners import learn, state_of

import kseq

pytestmark = [
    pytest.mark.engine("torch"),
    pytest.mark.skipif(sys.platform == "win32", reason="gloo processes are started by fork"),
]

slow = pytest.mark.slow
TESTS = Path(__file__).resolve().parent
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
    codes, said = together(tmp_path, checkpoint_steps=7, checkpoint_seconds=None, strike=killed)
    assert codes == [5, -signal.SIGKILL]
    assert "process 0 of 2: must hear from all others until the end, found one" in said[0][1]
    assert "; see what that one said, and start all again with --resume" in said[0][1]
    assert checkpoint_steps(tmp_path)[-1] == 28
    assert_same(alone(tmp_path), alone(tmp_path / "whole"))


@slow
def test_all_stop_at_the_step_that_one_is_asked_at_and_resume(tmp_path):
    never = {"checkpoint_steps": None, "checkpoint_seconds": None}
    codes, _ = together(tmp_path, **never, strike=[30, 1, signal.SIGTERM])
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


AVERAGED = {"optimizer": "asgd", "spread": 2, "epochs": 5}
PENALTIES = {"activation_l2": 2.0, "temporal_l2": 1.0}
DROPS = {"dropout_kind": "locked", "dropout": 0.2, "output_dropout": 0.2, "weight_drop": 0.3}


@slow
def test_averaged_sgd_and_drawn_lengths_are_as_in_one_process(tmp_path):
    settings = {"cell": "lstm", **AVERAGED, "regularization": PENALTIES, "epochs": 2}
    settings["averages"] = True
    codes, said = together(tmp_path / "two", **settings)
    assert codes == [0, 0], said
    whole = alone(tmp_path / "one", **settings)
    assert all(record["averaged"] for record in whole["records"])
    # Steps this large amplify the rounding of another processor.
    assert_same(of(tmp_path / "two"), whole, rtol=1e-4, atol=1e-4)
    assert_alike(tmp_path / "two")


@slow
def test_what_each_process_drops_leaves_all_with_the_same_weights_and_mean(tmp_path):
    regularization = {name: value for name, value in DROPS.items() if name != "dropout"}
    settings = {"dropout": DROPS["dropout"], "regularization": regularization}
    codes, said = together(tmp_path, cell="lstm", **AVERAGED, **settings)
    assert codes == [0, 0], said
    # The mean was begun in both at the same epoch, which is not the first.
    assert {record["averaged"] for record in of(tmp_path)["records"]} == {False, True}
    assert_alike(tmp_path)
    first, second = of(tmp_path, 0), of(tmp_path, 1)
    seeds = [name for name, array in first.items() if is_seed(array)]
    # Two of dropped kernels, three of locked masks.
    assert len(seeds) >= 5
    assert [name for name in seeds if first[name][0] == second[name][0]] == []


def test_processes_with_other_texts_end_at_once_and_say_so(tmp_path):
    codes, said = together(tmp_path, cut=300)
    assert codes == [2, 2], said
    ours = [[line for line in err.splitlines() if "must all train" in line] for _, err in said]
    assert ours[0] == ours[1]
    assert ours[0][0].startswith("processes: must all train the same, found tokens 1301 in proc")
    assert not (tmp_path / "run").exists()


def launching(folder, *words):
    """Give what starts two processes of `kseq train` with PyTorch's own launcher."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    # Once a second it looks whether all are there: time for the others to say what is wrong.
    launcher += ["--master-addr", "127.0.0.1", "--master-port", free_port(), "--monitor-interval=1"]
    run = ["-m", "kseq", "train", "story", "--units", "8", "--num-layers", "1"]
    started = [sys.executable, *map(str, [*launcher, *run, "--run-dir", folder, *words])]
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "1"}
    return {"args": started, "env": environment, "text": True}


def launched(folder, *words):
    done = subprocess.run(
        **launching(folder, *words), capture_output=True, check=False, timeout=LONGEST
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done


@slow
def test_the_command_line_speaks_once(tmp_path):
    done = launched(tmp_path / "run", "--epochs", "1")
    assert "engine torch, 2 processes" in done.stderr
    assert (done.stderr.count("epoch 1/1"), done.stdout.count("likeliest")) == (1, 1)
    assert {"model.keras", "curve.png"} <= {path.name for path in (tmp_path / "run").iterdir()}


def killed_after_a_checkpoint(folder, *words):
    """Train without an end, kill the first process when it has saved; give how the launcher ended.

    That nobody holds the launcher's pipes any more shows that no process is left.
    """
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(**launching(folder, *words, "--epochs", "100000"), **pipes) as launcher:
        try:
            until = time.monotonic() + LONGEST
            while not list(folder.glob("checkpoint-*.npz")):
                assert launcher.poll() is None, launcher.stderr.read()[-2000:]
                assert time.monotonic() < until
                time.sleep(0.02)
            os.kill(json.loads((folder / "lock").read_text())["process"], signal.SIGKILL)
            said = launcher.communicate(timeout=LONGEST)[1]
        finally:
            launcher.terminate()
    return launcher.returncode, said


@slow
def test_a_killed_worker_ends_the_launcher_and_the_run_resumes_to_the_bit(tmp_path):
    words = ["--keep", "last", "--checkpoint-steps", "5", "--json", "--quiet"]
    code, said = killed_after_a_checkpoint(tmp_path / "run", *words)
    assert code == 1
    lost = "kseq: error: process 1 of 2: must hear from all others until the end, found one silent"
    assert lost in said
    newest = sorted((tmp_path / "run").glob("checkpoint-*.npz"))[-1]
    epochs = json.loads(np.load(newest)["facts"].tobytes())["cursor"]["epoch"] + 2
    ends = []
    for name, more in (("run", ["--resume"]), ("whole", [])):
        launched(tmp_path / name, *words, "--epochs", epochs, *more)
        ends.append(kseq.load_model(tmp_path / name / "model.keras").get_weights())
    for found, expected in zip(*ends, strict=True):
        np.testing.assert_array_equal(found, expected)
