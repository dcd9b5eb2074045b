"""Trainings killed at random moments end with the same bits: a few here, more when asked for."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from children import LONGEST, without_coverage

TESTS = Path(__file__).resolve().parent


def kill(runs, *options, program=(str(TESTS / "killed_runs.py"),)):
    """Run killed_runs.py, or another program, to its end."""
    words = [sys.executable, "-W", "ignore", *program, "--runs", str(runs), *options]
    environment = {
        **without_coverage(),
        "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]),
        # With the tests side by side, threads that wait for each other take minutes.
        "OMP_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return subprocess.run(
        words,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST + 60 * runs,
    )


def killed(runs):
    done = kill(runs)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def is_same(found, runs):
    assert (found["runs"], found["same"], found["different"]) == (runs, runs, [])
    assert found["steps_lost_beyond_the_interval"] <= 0
    # On a busy machine the signal of a single run may come when the training has ended.
    assert sum(found["kills"].values()) > 0 or runs == 1


def test_killed_trainings_end_as_if_they_were_not(request, engine):
    # Engines that compile take seconds for each of the trainings.
    runs = request.config.getoption("--killed-runs") or (4 if engine == "torch" else 1)
    is_same(killed(runs), runs)


HANGING = """
import time, killed_runs
killed_runs.learn = lambda *_: time.sleep(600)
killed_runs.main()
"""


@pytest.mark.engine("torch")
def test_a_training_that_hangs_shows_where_and_ends():
    done = kill(1, "--limit", "3", program=("-c", HANGING))
    assert done.returncode == 1
    assert "Fatal Python error: Aborted" in done.stderr
    assert 'File "<string>", line 3 in <lambda>' in done.stderr
    assert f"a training left alone ended with {-signal.SIGABRT}" in done.stderr


@pytest.mark.engine("torch")
def test_coverage_watches_no_training_that_is_killed(monkeypatch):
    settings = str(TESTS.parent / "pyproject.toml")
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
        monkeypatch.setenv(name, settings)
    program = [sys.executable, "-c", "import sys; print('coverage' in sys.modules)"]
    done = subprocess.run(
        program, env=without_coverage(), capture_output=True, text=True, check=True, timeout=LONGEST
    )
    assert done.stdout == "False\n"
