"""scripts/run.py and scripts/test.py: what they install, what they start, what they return."""

import importlib.util
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import _is_slow_one_wanted

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

ROOT = Path(__file__).resolve().parent.parent
PYTHON = Path("/checkout/.venv/bin/python")


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.delenv("KERAS_BACKEND")

    def load(name):
        spec = importlib.util.spec_from_file_location(
            f"script_{name}", ROOT / "scripts" / f"{name}.py"
        )
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def wanted(load, monkeypatch):
    """The extras each set-up was asked for; nothing is installed."""
    environment = load("run").environment
    wanted = []

    def set_up(root, extras=()):
        wanted.append(list(extras))
        return PYTHON

    monkeypatch.setattr(environment, "set_up", set_up)
    return wanted


@pytest.fixture
def started(monkeypatch):
    """The command line that replaces the process."""
    started = []
    monkeypatch.setattr(os, "execv", lambda path, arguments: started.append((path, arguments)))
    return started


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ([], ["demo"]),
        (["--help"], ["--help"]),
        (["generate", "m.keras", "two words", "--seed", "1"],) * 2,
    ],
)
def test_run_hands_its_arguments_to_kseq(load, wanted, started, given, passed):
    load("run").main(given)

    assert started == [(str(PYTHON), [str(PYTHON), "-P", "-m", "kseq", *passed])]
    assert wanted == [[]]


@pytest.mark.parametrize(
    ("chosen", "extras"),
    [({}, []), ({"KERAS_BACKEND": "torch"}, []), ({"KERAS_BACKEND": "jax"}, ["jax"])],
)
def test_run_installs_the_engine_chosen_by_name(load, chosen, extras):
    assert load("run").chosen_extras(chosen) == extras


class Suites:
    """Stands in for subprocess.call: keeps each command with its variables."""

    def __init__(self, codes):
        self.codes = list(codes)
        self.calls = []

    def __call__(self, command, cwd, env):
        self.calls.append((command, cwd, env))
        return self.codes.pop(0)

    @property
    def engines(self):
        return [env["KERAS_BACKEND"] for _, _, env in self.calls]


@pytest.fixture
def run_tests(load, wanted, monkeypatch):
    script = load("test")

    def run_tests(arguments, codes):
        suites = Suites(codes)
        monkeypatch.setattr(script.subprocess, "call", suites)
        return script.main(arguments), suites

    return run_tests


def test_the_suite_runs_under_torch_without_options(run_tests, wanted):
    code, suites = run_tests([], [0])

    assert (code, suites.engines, wanted) == (0, ["torch"], [["test"]])
    assert suites.calls[0][0][:3] == [str(PYTHON), "-m", "pytest"]
    assert suites.calls[0][1] == ROOT


@pytest.mark.parametrize(
    ("workers", "options"), [("1", []), ("3", ["-n", "3", "--dist", "loadfile"])]
)
def test_processes_share_the_tests(run_tests, workers, options):
    suites = run_tests(["--workers", workers], [0])[1]

    assert suites.calls[0][0] == [str(PYTHON), "-m", "pytest", *options]
    assert suites.calls[0][2]["OMP_NUM_THREADS"] == os.environ.get("OMP_NUM_THREADS", "1")


def test_the_suite_respects_the_chosen_engine(run_tests, wanted, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")

    assert run_tests([], [0])[1].engines == ["jax"]
    assert wanted == [["test", "jax"]]


@pytest.mark.parametrize("option", [["--all"], ["--engines", "torch,jax,tensorflow"]])
def test_each_engine_has_a_process_of_its_own(run_tests, wanted, option):
    code, suites = run_tests(option, [0, 0, 0])

    assert (code, suites.engines) == (0, ["torch", "jax", "tensorflow"])
    assert wanted == [["test", "jax", "tensorflow"]]


def test_every_engine_runs_and_the_first_failure_is_returned(run_tests):
    code, suites = run_tests(["--all"], [0, 1, 4])

    assert (code, len(suites.calls)) == (1, 3)


def test_a_suite_ended_by_a_signal_returns_128_and_more(run_tests):
    assert run_tests([], [-signal.SIGSEGV])[0] == 128 + signal.SIGSEGV


def test_unknown_options_go_to_pytest(run_tests):
    given = ["--slow", "-k", "vocab", "tests/test_vocab.py", "--co"]
    _, suites = run_tests(["--workers", "1", *given], [0])

    assert suites.calls[0][0][3:] == given


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, [False, False, False]),
        ({"--slow": True}, [True, True, True]),
        # What torch runs is slow once: CI runs it there.
        ({"--slow-beyond": "torch"}, [False, False, True]),
        ({"--slow-beyond": "jax"}, [False, True, False]),
    ],
)
def test_slow_tests_that_another_engine_does_not_run(options, wanted):
    config = SimpleNamespace(getoption=options.get)
    found = [_is_slow_one_wanted(engines, config) for engines in ([], ["torch"], ["jax"])]
    assert found == wanted
    assert "--slow-beyond torch" in (ROOT / ".ci" / "run").read_text()


def test_an_unknown_engine_is_a_usage_error(run_tests, capsys):
    with pytest.raises(SystemExit) as end:
        run_tests(["--engines", "torch,theano"], [])

    assert end.value.code == 2
    assert "must be of torch, jax, tensorflow, found 'theano'" in capsys.readouterr().err


def test_coverage_is_collected_apart_for_each_engine(run_tests, load, monkeypatch, tmp_path):
    monkeypatch.setattr(load("run").environment, "ROOT", tmp_path)
    (tmp_path / ".coverage.jax.host.1").touch()
    (tmp_path / ".coverage.torch.host.1").touch()

    _, suites = run_tests(["--engines", "jax", "--coverage"], [0])

    command, _, env = suites.calls[0]
    assert command[:6] == [str(PYTHON), "-m", "coverage", "run", "-m", "pytest"]
    assert env["COVERAGE_FILE"] == str(tmp_path / ".coverage.jax")
    assert [path.name for path in tmp_path.iterdir()] == [".coverage.torch.host.1"]


def test_ctrl_c_waits_for_pytest_and_ends_the_series(load, wanted, monkeypatch):
    script = load("test")
    pytest_says_goodbye = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(2))\n"
        "os.kill(os.getppid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGINT)\n"
        "time.sleep(30)"
    )
    names, before = [], signal.getsignal(signal.SIGINT)

    def command(*_):
        names.append("started")
        return [sys.executable, "-c", pytest_says_goodbye]

    monkeypatch.setattr(script, "command", command)

    assert script.main(["--all"]) == 130
    assert names == ["started"]
    assert signal.getsignal(signal.SIGINT) is before
