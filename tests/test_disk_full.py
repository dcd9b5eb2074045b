"""A disk that fills while a file is written: the file before stays, and the error says so.

The limit is the kernel's own: on the size of a file, and the end of a small file system.
"""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from children import LONGEST
from command_line import FOX, QUICK, TINY, error_line, kseq, refused, works
from full_disk import POINTS, check_refused, writers

import kseq as package

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

resource = pytest.importorskip("resource")

NAMES = ["model.keras", "vocab.json", "curve.png", "curve.svg", "history.json"]


@contextlib.contextmanager
def files_of_at_most(size):
    """Let no file grow beyond `size` bytes: writing on is EFBIG, for Python ignores SIGXFSZ."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def written():
    return writers()


@pytest.mark.parametrize("name", NAMES)
def test_every_file_kseq_writes_survives_a_full_disk(written, tmp_path, name):
    path, write = tmp_path / name, written[name]
    with files_of_at_most(10):
        check_refused(write, path, has_version_before=False)
    write(path)
    size = path.stat().st_size
    for point in range(POINTS):
        with files_of_at_most(size * point // POINTS):
            check_refused(write, path, has_version_before=True)
    write(path)
    assert path.stat().st_size > 0


def test_the_model_before_still_loads(tmp_path):
    model = package.LanguageModel(package.Vocab("abc"), units=4)
    model.save(tmp_path / "model.keras")
    before = model.get_weights()
    model.set_weights([each + 1 for each in before])
    with files_of_at_most(5_000), pytest.raises(package.FileError):
        model.save(tmp_path / "model.keras")

    for kept, old in zip(
        package.load_model(tmp_path / "model.keras").get_weights(), before, strict=True
    ):
        np.testing.assert_array_equal(kept, old)


def on_a_small_file_system(folder, function):
    """Run a function of full_disk.py on a file system of 2 MiB; return what it returned."""
    shell = 'mount -t tmpfs -o size=2m none "$1" && exec "$2" "$3" "$1" "$4"'
    program = Path(__file__).with_name("full_disk.py")
    words = ["sh", "-c", shell, "sh", folder, sys.executable, program, function]
    try:
        done = subprocess.run(
            ["unshare", "-rm", *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(program.parent.parent)},
            timeout=LONGEST,
        )
    except FileNotFoundError:
        pytest.skip("needs unshare to have a file system of its own")
    if done.stderr.startswith(("unshare:", "mount:")):
        pytest.skip(f"needs a file system of its own: {done.stderr.strip()[-100:]}")
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.engine("torch")
def test_a_full_file_system(tmp_path):
    found = on_a_small_file_system(tmp_path, "fill_again_and_again")
    assert found == len(NAMES) * POINTS


@pytest.mark.engine("torch")
def test_a_training_on_a_full_file_system_can_be_resumed_to_the_same_end(tmp_path):
    found = on_a_small_file_system(tmp_path, "train_again_and_again")
    assert POINTS // 4 <= found < POINTS


# The command line


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_forecast_that_cannot_be_written_is_one_line_and_exit_5(folder):
    model = package.Forecaster("mlp", window=4, units=2)
    # What feeds on its own output so often must not grow.
    model.set_weights([0 * weights for weights in model.get_weights()])
    model.save("four.keras")
    Path("a.csv").write_text("y\n" + "".join(f"{i % 7}\n" for i in range(60)))
    words = ["forecast", "four.keras", "a.csv", "--run-dir", "run", "--horizon", "900"]
    works(*words)
    before = Path("run/forecast.csv").read_bytes()

    with files_of_at_most(5_000):
        said = kseq(*words, "--overwrite")

    assert said.code == 5
    assert error_line(said) == (
        "kseq: error: run/forecast.csv: must be written whole, found File too large; "
        "free some space or choose another disk, the version before is untouched"
    )
    assert Path("run/forecast.csv").read_bytes() == before
    assert [path.name for path in Path("run").iterdir()] == ["forecast.csv"]


def test_a_forecast_without_room_for_any_file_leaves_no_folder(folder):
    Path("b.csv").write_text("y\n" + "".join(f"{i % 7}\n" for i in range(71)))
    sizes = ["--horizon", "2", "--window", "2", "--epochs", "1", "--quiet"]
    with files_of_at_most(100):
        line = refused(5, "forecast", "b.csv", *sizes, "--run-dir", "new/run")
    assert "new/run/model.keras: must be written whole, found File too large; free" in line


@pytest.mark.filterwarnings("always::UserWarning")
def test_a_history_that_cannot_be_written_is_a_note_and_the_training_goes_on(folder):
    Path("a.txt").write_text(FOX * 3)
    works("train", "a.txt", *QUICK, "--run-dir", "run")
    Path("run/history.json").unlink()
    Path("run/history.json").symlink_to("/dev/full")
    longer = [*TINY, "--quiet", "--epochs", "2", "--run-dir", "run", "--resume", "--json"]

    said = works("train", "a.txt", *longer)

    assert said.report["epochs"] == 2
    words = "kseq: note: the history is not written, training goes on: run/history.json: must be "
    assert {note[: len(words)] for note in said.notes} == {words}


def test_the_check_of_this_file_can_fail(tmp_path):
    with pytest.raises(AssertionError, match="was written without room"):
        check_refused(lambda path: path.write_bytes(b"x"), tmp_path / "a", has_version_before=False)
