"""Files from strangers: each refused in one line, at once, and with nothing touched."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import good_model_file
import hostile_files
import hostile_ways
import numpy as np
import pytest
from children import LONGEST, without_coverage
from conftest import ROOT

import kseq
from kseq import ModelFileError, inspect_model, load_model
from kseq.saving.checking import read_model_file

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

SECONDS, MEGABYTES = 0.5, 100

# What the audit hook of either program below notes; tests/hostile_files.py makes the files.
WATCH = """
import json, os, sys, time
noted, watching = [], False
KNOWN = {*sys.stdlib_module_names, "numpy", "kseq"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
ACTS = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system", "os.remove",
        "os.rename", "os.mkdir", "shutil.", "tempfile.", "ctypes.", "pickle.", "urllib.", "http.")

def hook(event, args):
    if not watching:
        return
    if event == "open":
        path, mode, flags = args
        if (isinstance(mode, str) and set(mode) & set("wax+")) or (flags or 0) & WRITES:
            noted.append(f"writes {path}")
    elif event == "import":
        if args[0].partition(".")[0] not in KNOWN:
            noted.append(f"imports {args[0]}")
    elif event.startswith(ACTS):
        noted.append(f"{event} {args}")

sys.addaudithook(hook)
watching = True
open(os.devnull, "w").close()
watching = False
assert noted == [f"writes {os.devnull}"], noted
noted.clear()
"""
REFUSALS = (
    WATCH
    + """
import kseq

def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024

from kseq.saving import check_model_file, inspect_model, load_model

def tried(read, path):
    global watching
    start, watching = time.process_time(), True
    try:
        read(path)
        told = "it was read"
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
    watching = False
    return told, time.process_time() - start

inspect_model(sys.argv[2])
found = {}
for path in json.load(open(sys.argv[1])):
    for read in (inspect_model, load_model, check_model_file):
        before = peak()
        told, seconds = tried(read, path)
        if seconds >= 0.5:
            # A core that was slow for a moment says nothing of the file.
            seconds = min(seconds, *(tried(read, path)[1] for _ in range(3)))
        found.setdefault(path, []).append([told, seconds, peak() - before])
heavy = sorted({"keras", "torch", "jax", "tensorflow", "h5py"} & set(sys.modules))
print(json.dumps({"found": found, "noted": noted, "heavy": heavy}))
"""
)
GOOD_FILE = (
    WATCH
    + """
import kseq
path = sys.argv[1]
kseq.load_model(path)
KNOWN |= {name.partition(".")[0] for name in sys.modules}
watching = True
kseq.load_model(path)
watching = False
print(json.dumps(noted))
"""
)


def run(program, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**without_coverage(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "model.keras"
    path.write_bytes(good_model_file.good())
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return hostile_files.make(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def tried(corpus, good, tmp_path_factory):
    """What became of every file in one process without an engine, and what a hook saw of it."""
    names = tmp_path_factory.mktemp("names") / "names.json"
    names.write_text(json.dumps([str(path) for path, _ in corpus.values()]))
    return run(REFUSALS, names, good)


def test_the_file_they_are_made_from_is_a_good_one(good):
    model = load_model(good)
    arrays = good_model_file.good_arrays()
    kernel = model.stack.recurrent[1].cell.recurrent_kernel
    path = "layers/stack/recurrent/gru_1/cell/vars/1"
    np.testing.assert_array_equal(np.asarray(kernel), arrays[path])
    assert type(model.optimizer).__name__ == "ClippedSGD"
    assert int(model.optimizer.iterations) == 3


def test_there_are_many(corpus):
    assert len(corpus) >= 150


def test_every_file_is_refused_in_one_line_that_says_why(corpus, tried):
    for name, (path, words) in corpus.items():
        for told, _, _ in tried["found"][str(path)]:
            # A long path is cut in its middle.
            assert told.startswith(f"ModelFileError: {str(path)[:15]}"), (name, told)
            assert f"{path.name[-15:]}: " in told, (name, told)
            assert words in told, (name, told)
            assert "\n" not in told, name
            assert len(told) - len("ModelFileError: ") <= 300, name
            assert "not found" not in told, name


def test_every_file_is_refused_at_once_and_in_little_memory(corpus, tried):
    """The promise to the user, not a benchmark: half a second and 100 MB."""
    for name, (path, _) in corpus.items():
        for _, seconds, megabytes in tried["found"][str(path)]:
            assert seconds < SECONDS, name
            assert megabytes < MEGABYTES, name


def test_nothing_is_written_called_or_imported_on_the_way(tried):
    assert tried["noted"] == []
    assert tried["heavy"] == []


def test_a_good_file_is_loaded_without_a_file_written_a_socket_or_a_process(good):
    assert run(GOOD_FILE, good) == []


def test_a_link_to_a_regular_file_is_followed(good, tmp_path):
    (tmp_path / "link.keras").symlink_to(good)
    assert inspect_model(tmp_path / "link.keras")["kind"] == "LanguageModel"


def test_a_foreign_loss_is_named_and_the_rest_can_be_read(tmp_path):
    part = hostile_ways.part("evil", "Loss", "mine>Loss")
    path = tmp_path / "model.keras"
    path.write_bytes(hostile_ways.with_compilation(loss=part))
    with pytest.raises(ModelFileError, match=r"found the loss 'mine>Loss'; load_model\(path, comp"):
        load_model(path)
    model = load_model(path, compile=False)
    assert not model.compiled
    assert model.units == inspect_model(path, compile=False)["settings"]["units"] == 6


def test_what_a_file_says_is_printed_without_moving_the_cursor(tmp_path, capsys):
    path = tmp_path / "model.keras"
    corpus = {**hostile_ways.good_corpus(), "name": "\x1b[2Jharm\n"}
    facts = {"corpus": corpus, "epochs": 1, "results": {}}
    path.write_bytes(hostile_ways.with_settings(provenance=facts))
    from kseq.cli import main

    assert main(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "?[2Jharm?" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("documents", "pieces", "code"),
    [
        (["a", "\x1b[2J"], [0, 5, 5, 9], 0),
        (["a", "\x1b[2J"], [0, 5, "x", 9], 4),
        (["a", "b"], [0], 0),
        ("ab", [0, 5], 4),
        (["a", "b"], 7, 4),
        (["a", "b"], None, 0),
        ([["a"], "b"], [0, 5], 4),
        (["a", "b"], [0, -5], 4),
        (["a"] * 20_001, [0, 5], 4),
    ],
)
def test_documents_that_a_file_makes_up(tmp_path, capsys, documents, pieces, code):
    path = tmp_path / "model.keras"
    corpus = {**hostile_ways.good_corpus(), "documents": documents, "pieces": pieces}
    facts = {"corpus": corpus, "results": {}}
    path.write_bytes(hostile_ways.with_settings(provenance=facts))
    from kseq.cli import main

    assert main(["inspect", str(path)]) == code
    assert "\x1b" not in capsys.readouterr().out


def test_a_bit_flipped_anywhere_is_refused_or_changes_nothing(good, tmp_path, pytestconfig):
    whole, path, rng = good.read_bytes(), tmp_path / "model.keras", random.Random(0)
    told = read_model_file(good)
    refusals, count = 0, pytestconfig.getoption("--flips")
    for _ in range(count):
        flipped = bytearray(whole)
        flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        try:
            assert holds_the_same(read_model_file(path), told)
        except ModelFileError:
            refusals += 1
    assert refusals > 0.9 * count


def holds_the_same(found, expected):
    """Whether two files hold the same model, to the bit."""
    same = found.arrays.keys() == expected.arrays.keys() and all(
        found.arrays[path].tobytes() == array.tobytes() for path, array in expected.arrays.items()
    )
    names = ("kind", "settings", "compilation", "metadata")
    return same and all(getattr(found, name) == getattr(expected, name) for name in names)


@pytest.mark.parametrize("command", ["generate", "evaluate", "inspect"])
def test_a_command_refuses_a_bad_file_before_an_engine_is_loaded(corpus, command):
    path, words = corpus["lambda-loss"]
    program = (
        "import sys; from kseq.cli import main; code = main(sys.argv[1:]);"
        "assert not {'keras', 'torch', 'jax', 'tensorflow'} & set(sys.modules); sys.exit(code)"
    )
    arguments = {"generate": [path, "a"], "evaluate": [path], "inspect": [path]}
    done = subprocess.run(
        [sys.executable, "-c", program, command, *map(str, arguments[command])],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    assert done.returncode == 4, done.stderr
    assert done.stderr.startswith(f"kseq: error: {str(path)[:15]}"), done.stderr
    assert words in done.stderr


def test_the_script_makes_the_same_files(tmp_path, corpus):
    script = Path(hostile_files.__file__)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, script, tmp_path], env=environment, check=True, stdout=-3, timeout=LONGEST
    )
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {path.name for name, (path, _) in corpus.items() if "url-" not in name}
    assert kseq.__version__
