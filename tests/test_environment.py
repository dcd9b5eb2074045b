"""scripts/environment.py: what a first, a second and an interrupted start do."""

import fcntl
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from children import LONGEST

pytestmark = pytest.mark.engine("torch")

ROOT = Path(__file__).resolve().parent.parent

NO_NETWORK = b"""\
  WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('...')'
  ERROR: Could not find a version that satisfies the requirement setuptools>=77
ERROR: No matching distribution found for setuptools>=77
"""
CONFLICT = b"Collecting numpy\nERROR: Cannot install kseq because these versions conflict.\n"


@pytest.fixture
def environment(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.delenv("KSEQ_SETUP_VERBOSE", raising=False)
    import environment

    return environment


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "scripts" / "constraints.txt").write_text("keras==3.15.1\n")
    return tmp_path


class Tools:
    """Stands in for venv and pip: makes what they make, and keeps their command lines."""

    def __init__(self):
        self.commands = []
        self.pip_exits_with = 0
        self.pip_says = b""

    def start(self, command, lock):
        self.commands.append(command)
        if "venv" in command:
            python = Path(command[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.symlink_to(sys.executable)
            return spoken(b"", 0)
        return spoken(self.pip_says, self.pip_exits_with)

    @property
    def installs(self):
        return [command for command in self.commands if "install" in command]


def spoken(text, code):
    program = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()); "
    program += f"sys.exit({code})"
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    child.stdin.write(text)
    child.stdin.close()
    return child


@pytest.fixture
def tools(environment, monkeypatch):
    tools = Tools()
    monkeypatch.setattr(environment, "_started", tools.start)
    return tools


def test_the_first_start_makes_venv_and_installs_with_constraints(environment, checkout, tools):
    python = environment.set_up(checkout, ["test"])

    assert python == checkout / ".venv" / "bin" / "python"
    assert [command[1:3] for command in tools.commands] == [["-m", "venv"], ["-m", "pip"]]
    install = tools.installs[0]
    assert install[0] == str(python)
    assert install[-2:] == ["-e", f"{checkout}[test]"]
    assert install[install.index("--constraint") + 1] == str(
        checkout / "scripts" / "constraints.txt"
    )
    assert "--no-input" in install


def test_the_second_start_runs_no_tool(environment, checkout, tools, monkeypatch):
    environment.set_up(checkout, ["test"])
    tools.commands.clear()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a process was started"))

    environment.set_up(checkout, ["test"])
    environment.set_up(checkout)

    assert tools.commands == []


def test_a_new_extra_is_added_to_those_installed(environment, checkout, tools):
    environment.set_up(checkout, ["test"])
    environment.set_up(checkout, ["jax"])
    environment.set_up(checkout, ["jax", "test"])

    assert [command[-1] for command in tools.installs] == [
        f"{checkout}[test]",
        f"{checkout}[jax,test]",
    ]


@pytest.mark.parametrize("name", ["pyproject.toml", "scripts/constraints.txt"])
def test_a_changed_input_installs_again(environment, checkout, tools, name):
    environment.set_up(checkout)
    (checkout / name).write_text("changed\n")
    environment.set_up(checkout)

    assert len(tools.installs) == 2


def test_a_moved_checkout_installs_again(environment, checkout, tools, tmp_path_factory):
    environment.set_up(checkout)
    moved = tmp_path_factory.mktemp("elsewhere") / "kseq"
    checkout.rename(moved)
    environment.set_up(moved)

    assert tools.installs[-1][-1] == str(moved)


def test_an_interrupted_install_leaves_no_stamp_and_is_taken_up(
    environment, checkout, tools, monkeypatch
):
    monkeypatch.setattr(environment, "_has_working_pip", lambda root: (root / ".venv/bin").exists())
    tools.pip_exits_with = 1
    with pytest.raises(environment.SetupError):
        environment.set_up(checkout)
    tools.pip_exits_with = 0
    environment.set_up(checkout)

    assert len([command for command in tools.commands if "venv" in command]) == 1
    assert len(tools.installs) == 2


@pytest.mark.parametrize("damage", ["no interpreter", "no pip"])
def test_a_broken_venv_is_made_again(environment, checkout, tools, damage):
    environment.set_up(checkout)
    python = checkout / ".venv" / "bin" / "python"
    python.unlink()
    if damage == "no pip":
        python.symlink_to("/bin/false")
    (checkout / ".venv" / "left-over").touch()

    environment.set_up(checkout)

    assert os.path.realpath(python) == os.path.realpath(sys.executable)
    assert not (checkout / ".venv" / "left-over").exists()


def test_a_broken_stamp_counts_as_none(environment, checkout, tools):
    environment.set_up(checkout)
    (checkout / ".venv" / "kseq-stamp.json").write_text('{"inputs": ')
    environment.set_up(checkout)

    assert len(tools.installs) == 2


def test_a_second_set_up_waits_and_then_uses_the_first(environment, checkout, tools, capsys):
    environment.set_up(checkout)
    stamp = checkout / ".venv" / "kseq-stamp.json"
    finished = stamp.read_text()
    stamp.unlink()
    tools.commands.clear()
    first = os.open(checkout, os.O_RDONLY)
    fcntl.flock(first, fcntl.LOCK_EX)
    blocking = environment.fcntl.flock

    def flock(handle, operation):
        if not operation & fcntl.LOCK_NB:
            stamp.write_text(finished)
            os.close(first)
        blocking(handle, operation)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environment.fcntl, "flock", flock)
        environment.set_up(checkout)

    assert "waiting for another set-up" in capsys.readouterr().err
    assert tools.commands == []


def test_the_lock_is_kept_by_a_child_that_outlives_its_parent(environment, checkout):
    with environment._only_one_set_up(checkout) as lock:
        child = environment._started(["sleep", "60"], lock)
    other = os.open(checkout, os.O_RDONLY)
    try:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        child.kill()
        child.communicate()
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_a_missing_venv_module_names_the_package(
    environment, checkout, tools, monkeypatch, missing
):
    monkeypatch.setattr(environment, "find_spec", lambda name: None if name == missing else name)

    with pytest.raises(environment.SetupError, match=f"found no {missing} module") as error:
        environment.set_up(checkout)

    assert "apt install python3-venv" in str(error.value)
    assert tools.commands == []
    assert not (checkout / ".venv").exists()


def test_no_network_is_said_in_one_line_with_the_log(environment, checkout, tools):
    tools.pip_exits_with, tools.pip_says = 1, NO_NETWORK

    with pytest.raises(environment.SetupError, match="found no network; connect") as error:
        environment.set_up(checkout)

    log = checkout / ".venv" / "setup.log"
    assert str(log) in str(error.value)
    assert "\n" not in str(error.value)
    assert log.read_bytes() == NO_NETWORK


def test_another_failure_of_pip_quotes_its_error(environment, checkout, tools):
    tools.pip_exits_with, tools.pip_says = 1, CONFLICT

    with pytest.raises(environment.SetupError, match="ERROR: Cannot install kseq because"):
        environment.set_up(checkout)


def test_a_checkout_that_cannot_be_written_to_is_named(environment, checkout, tools):
    (checkout / ".venv").write_text("a file in the way")

    with pytest.raises(environment.SetupError, match=r"\.venv: must be a folder to write to"):
        environment.set_up(checkout)


@pytest.mark.parametrize(("verbose", "shown"), [("", False), ("1", True)])
def test_pip_is_shown_at_work_only_on_request(
    environment, checkout, tools, monkeypatch, capsys, verbose, shown
):
    monkeypatch.setenv("KSEQ_SETUP_VERBOSE", verbose)
    tools.pip_says = b"Collecting keras\n"

    environment.set_up(checkout)

    told = capsys.readouterr().err
    assert ("Collecting keras" in told) is shown
    assert "installing kseq and what it needs" in told


@pytest.mark.parametrize(
    ("outcome", "code", "words"),
    [
        (0, 0, ""),
        (7, 7, ""),
        ("SetupError", 5, "error: pip: must succeed"),
        ("KeyboardInterrupt", 130, "interrupted; the next start goes on where this one stopped"),
    ],
)
def test_a_program_ends_with_the_documented_exit_code(environment, capsys, outcome, code, words):
    def main(arguments):
        if outcome == "SetupError":
            raise environment.SetupError("pip: must succeed")
        if outcome == "KeyboardInterrupt":
            raise KeyboardInterrupt
        return outcome

    with pytest.raises(SystemExit) as end:
        environment.run_as_program(main)

    assert end.value.code == code
    assert capsys.readouterr().err == (f"kseq: {words}\n" if words else "")


def test_an_older_python_is_refused_in_one_line():
    program = (
        "import runpy, sys; sys.version_info = (3, 10, 4, 'final', 0);"
        "runpy.run_path(sys.argv[1], run_name='__main__')"
    )
    for script in ("environment", "run", "test"):
        path = str(ROOT / "scripts" / f"{script}.py")
        done = subprocess.run(
            [sys.executable, "-c", program, path],
            env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
        )
        assert done.returncode == 5
        assert done.stderr == (
            "kseq: error: Python: must be 3.11 or newer, found 3.10; "
            "run this with a newer python3\n"
        )


def test_the_oldest_python_is_that_of_the_project(environment):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["requires-python"] == ">={}.{}".format(*environment.OLDEST_PYTHON)


def test_the_stamp_is_whole_or_absent(environment, checkout, tools, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(environment.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        environment.set_up(checkout)
    assert not (checkout / ".venv" / "kseq-stamp.json").exists()

    monkeypatch.undo()
    monkeypatch.setattr(environment, "_started", tools.start)
    environment.set_up(checkout)
    stamp = json.loads((checkout / ".venv" / "kseq-stamp.json").read_text())
    assert stamp["extras"] == []
