"""Engines, devices, and what only a process of its own can show: pipes, signals, locales."""

import contextlib
import errno
import gc
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
from children import LONGEST, running
from command_line import FOX, QUICK, THREE_PARTS, TINY, error_line, kseq, refused, works

from kseq.cli import main
from kseq.cli.printing import nobody_reads
from kseq.errors import FileError

ROOT = Path(__file__).resolve().parent.parent
OTHERS = {"torch": "jax", "jax": "tensorflow", "tensorflow": "torch"}
OF_TENSORFLOW = re.compile(
    rb"WARNING: All log messages before absl::|[IWE]\d{4} \d\d:|\s+\[\[\{\{node "
)
# Makes Python believe that an engine is not installed.
BLOCKER = """\
import importlib.util, os, sys
missing, found = os.environ["MISSING"].split(), importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in missing else found(name, *rest)
class Blocker:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("fox.txt").write_text(FOX * 4)
        works("train", "fox.txt", *QUICK, "--run-dir", "run")
    return folder


@pytest.fixture(autouse=True)
def folder(home, monkeypatch):
    monkeypatch.chdir(home)


def command(*words):
    return [sys.executable, "-P", "-m", "kseq", *words]


def process(*words, program=None, **variables):
    """Run one command in a process of its own."""
    done = subprocess.run(
        program or command(*words),
        env=environment(**variables),
        capture_output=True,
        check=False,
        timeout=LONGEST,
    )
    done.stderr = ours(done.stderr)
    return done


def ours(stderr):
    """Standard error without what TensorFlow writes there on its own, past every setting."""
    kept = [line for line in stderr.splitlines(keepends=True) if not OF_TENSORFLOW.match(line)]
    return b"".join(kept)


def environment(**variables):
    path = os.pathsep.join([*variables.pop("path", []), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, **variables}


def line_of(done):
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    assert THREE_PARTS.fullmatch(lines[0])
    assert len(lines[0]) <= 300
    assert done.stdout == b""
    return lines[0]


# Engines


@pytest.mark.parametrize(
    "words", [["devices"], ["train", "fox.txt", *QUICK], ["generate", "run/model.keras"]]
)
def test_an_unknown_engine_lists_those_installed(words):
    done = process(*words, KERAS_BACKEND="tensorflwo")

    assert done.returncode == 2
    line = line_of(done)
    assert "KERAS_BACKEND: must be one of torch, jax, tensorflow, found 'tensorflwo'" in line
    assert "(installed: torch" in line


@pytest.mark.parametrize(
    ("engine_name", "package"),
    [("torch", "torch"), ("jax", "'kseq[jax]'"), ("tensorflow", "'kseq[tensorflow]'")],
)
def test_an_engine_that_is_not_installed_comes_with_the_pip_command(engine_name, package, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)

    done = process("devices", path=[str(tmp_path)], KERAS_BACKEND=engine_name, MISSING=engine_name)

    assert done.returncode == 2
    line = line_of(done)
    assert f"the engine must be installed, found no package '{engine_name}'" in line
    assert line.endswith(f"; pip install {package}")


def test_an_engine_changed_after_the_start_is_an_error(engine, monkeypatch):
    import keras

    assert keras.config.backend() == engine
    monkeypatch.setenv("KERAS_BACKEND", OTHERS[engine])

    for words in (["devices"], ["train", "fox.txt", *QUICK], ["evaluate", "run/model.keras"]):
        line = refused(2, *words)
        assert "must be chosen before Keras is imported" in line
        assert f"found '{OTHERS[engine]}' while '{engine}' is running" in line


def test_inspecting_a_file_needs_no_engine():
    done = process("inspect", "run/model.keras", "--json", KERAS_BACKEND="none")
    assert json.loads(done.stdout)["settings"]["units"] == 8


@pytest.mark.parametrize("device", ["gpu:99", "cuda:99", "mps:7", "quantum"])
def test_a_device_that_is_not_there_names_those_that_are(device):
    for words in (["train", "fox.txt", *QUICK], ["generate", "run/model.keras", "the"]):
        line = refused(2, *words, "--device", device)
        assert "--device: must be a device the engine sees (" in line
        assert f"found '{device}'; choose one of these" in line


def test_a_gpu_asked_for_and_absent_is_refused(monkeypatch):
    backend = importlib.import_module("kseq.backend")
    monkeypatch.setattr(backend, "devices", lambda: [backend.Device("cpu", "cpu")])

    assert "(cpu), found 'gpu'" in refused(2, "train", "fox.txt", *QUICK, "--device", "gpu")


def test_the_cpu_can_be_asked_for():
    assert works("train", "fox.txt", *QUICK, "--device", "cpu", "--run-dir", "cpu").code == 0


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes."),
    ],
)
def test_a_full_memory_asks_for_a_smaller_batch(error, monkeypatch):
    import kseq as package

    def train(*_, **__):
        raise error

    monkeypatch.setattr(package, "train", train)
    said = kseq("train", "fox.txt", *QUICK, "--run-dir", "full")

    assert said.code == 5
    assert error_line(said).endswith("; reduce the batch size")
    assert not Path("full").exists()


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyError("oops"), 1, "kseq itself: must not fail, found KeyError: 'oops'; run it again"),
        (OSError(28, "No space left", "m.keras"), 5, "m.keras: must be usable, found No space"),
        (OSError("odd"), 5, "files: must be usable, found odd; check the path"),
        (ValueError("a\nb\x1b[31m" + 999 * "c"), 1, "found ValueError: a b?[31mcc"),
    ],
)
def test_any_other_error_is_one_line_too(error, code, words, monkeypatch):
    monkeypatch.setattr("kseq.saving.inspect_model", lambda _: (_ for _ in ()).throw(error))
    assert words in refused(code, "inspect", "run/model.keras")


class Reader:
    """What keeps itself alive until the garbage collector comes by."""

    def __init__(self):
        self.itself = self


@pytest.mark.parametrize(("ended", "code"), [(KeyboardInterrupt, 130), (OSError, 5)])
def test_what_a_command_was_reading_with_is_gone_before_its_last_word(ended, code, monkeypatch):
    """TensorFlow's iterators complain on standard error where they outlive Python."""
    readers = []

    def inspect_model(_):
        reader = Reader()
        readers.append(weakref.ref(reader))
        raise ended

    monkeypatch.setattr("kseq.saving.inspect_model", inspect_model)
    gc.disable()
    try:
        assert kseq("inspect", "run/model.keras").code == code
        assert readers[0]() is None
    finally:
        gc.enable()


def test_who_is_asked_to_end_by_the_launcher_still_says_what_failed(monkeypatch):
    """torchrun ends the others as soon as it misses a process, of which they have just heard."""
    lost = FileError("process 0 of 2: must hear from all others, found one gone; start again")

    def inspect_model(_):
        try:
            raise lost
        finally:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("kseq.saving.inspect_model", inspect_model)
    said = kseq("inspect", "run/model.keras")
    assert (said.code, error_line(said)) == (5, f"kseq: error: {lost}")


def test_who_is_asked_to_end_while_ending_says_why_it_ends(monkeypatch):
    collect = gc.collect
    monkeypatch.setattr(gc, "collect", lambda: signal.raise_signal(signal.SIGTERM) or collect())
    said = kseq("inspect", "none.keras")
    assert (said.code, said.err.startswith("kseq: error: none.keras: ")) == (5, True)


# Processes


def heavy_after(*words):
    program = (
        "import sys; from kseq.cli import main; main(sys.argv[1:]);"
        "print(*sorted({'keras', 'numpy', 'torch', 'jax', 'tensorflow', 'matplotlib'}"
        " & {*sys.modules}))"
    )
    done = process(program=[sys.executable, "-c", program, *words])
    return done.stdout.decode().splitlines()[-1]


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], ["trian"], ["train", "--units=0"]]
)
def test_help_and_refused_options_import_nothing_heavy(words):
    assert heavy_after(*words) == ""


def test_a_refused_text_imports_no_engine():
    assert heavy_after("train", "none.txt") == "numpy"


@pytest.mark.engine("torch")
def test_what_the_engine_cannot_do_is_refused_before_a_text_is_looked_for():
    line = refused(2, "train", "none.txt", "--data-parallel")
    assert "data_parallel: must be on JAX, found torch; start the command with torchrun" in line


@pytest.mark.engine("torch")
def test_several_processes_do_not_read_one_standard_input(monkeypatch):
    place = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    line = refused(2, "train", "-", "--batch-size", "4", stdin=b"a text " * 99)
    assert "corpus: must be files in several processes, found - (standard input, which" in line


def test_output_into_a_closed_pipe_ends_quietly():
    words = command("generate", "run/model.keras", "the ", "--length", "100000")
    with running(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout.read(4) == b"the "
        child.stdout.close()
        assert child.wait() == 0
        assert ours(child.stderr.read()) == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_training_that_is_told_to_end_can_be_resumed(number, code):
    folder = f"ended-{code}"
    words = ["train", "fox.txt", *TINY, "--run-dir", folder, "--epochs"]
    with running(
        command(*words, "100000"), env=environment(), stderr=subprocess.PIPE, text=True
    ) as child:
        for line in child.stderr:
            if line.startswith("epoch      2/"):
                break
        child.send_signal(number)
        rest = ours(child.communicate()[1].encode()).decode().splitlines()
    assert child.returncode == code
    assert rest[-1].startswith("kseq: interrupted: ")
    assert "--resume" in rest[-1]
    assert "Traceback" not in "".join(rest)

    done = len(json.loads(Path(folder, "history.json").read_text())["epochs"])
    assert done >= 2
    report = works(*words, str(done + 1), "--resume", "--json", "--quiet").report
    assert report["epochs"] == done + 1


# What the first Ctrl-C waits for never comes: a checkpoint is written for ever.
STUCK = """\
import signal, sys, time
import kseq
from kseq.cli import main
from kseq.training.checkpointing import Checkpointing
def save(*_, **__):
    print("saving", file=sys.stderr, flush=True)
    while True:
        time.sleep(0.05)
Checkpointing.save = save
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.engine("torch")
def test_the_second_ctrl_c_ends_at_once():
    words = ["train", "fox.txt", *TINY, "--run-dir", "twice", "--epochs", "100000"]
    program = [sys.executable, "-P", "-c", STUCK, *words, "--checkpoint-seconds", "100000"]
    with running(program, env=environment(), stderr=subprocess.PIPE, text=True) as child:
        for first in ("epoch      2/", "saving"):
            assert any(line.startswith(first) for line in child.stderr)
            child.send_signal(signal.SIGINT)
        rest = child.communicate()[1].splitlines()
    assert child.returncode == 130
    assert rest[-1].startswith("kseq: interrupted: stopped by Ctrl-C")
    assert not Path("twice").exists()


def error_stream(kind):
    """A standard error that takes nothing: a full disk, a pipe that nobody reads, or none."""
    if kind == "none":
        return contextlib.nullcontext()
    if kind == "full":
        return open("/dev/full", "w", buffering=1)
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, "w", buffering=1)


@pytest.mark.engine("torch")
@pytest.mark.filterwarnings("always::UserWarning")
@pytest.mark.parametrize("kind", ["full", "closed", "none"])
def test_notes_and_progress_that_nothing_takes_end_no_training(kind, monkeypatch, capsys):
    Path("one.txt").write_text("a" * 400)
    words = ["train", "one.txt", *TINY, "--epochs", "1", "--json", "--run-dir", f"one-{kind}"]
    assert works(*words, "--quiet").notes
    with contextlib.suppress(OSError), error_stream(kind) as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        code = main([*words, "--overwrite"])
        refusal = main(["train", "none.txt"])
    monkeypatch.undo()
    assert (code, refusal) == (0, 5)
    # One object, and no note before it.
    assert json.loads(capsys.readouterr().out)["epochs"] == 1


@pytest.mark.engine("torch")
def test_a_broken_pipe_that_is_not_standard_output_is_an_error(monkeypatch):
    def breaks(_):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(importlib.import_module("kseq.cli.corpora"), "corpora", breaks)
    assert "must be usable, found Broken pipe; " in refused(5, "corpora")


@pytest.mark.parametrize("size", [1, 10**6])
def test_a_pipe_is_known_to_have_lost_its_reader(size):
    reader, writer = os.pipe()
    with contextlib.suppress(BrokenPipeError), open(writer, "w") as stream:
        assert not nobody_reads(stream)
        os.close(reader)
        with contextlib.suppress(BrokenPipeError):
            stream.write("x" * size)
        assert nobody_reads(stream)


@pytest.mark.parametrize(
    ("locale", "encoding"),
    [
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "ascii"),
        ({"PYTHONIOENCODING": "latin-1"}, "latin-1"),
    ],
)
def test_a_locale_without_unicode_still_works(locale, encoding):
    Path("mixed.txt").write_text("中文 naïve façade " * 8, "utf-8")
    works("train", "mixed.txt", *QUICK, "--run-dir", "mixed", "--overwrite")
    twice = "import sys; from kseq.cli import main; main(sys.argv[1:]); main(sys.argv[1:-1])"
    words = ["mixed/model.keras", "--length", "40", "--temperature", "3", "--seed", "1"]

    done = process(program=[sys.executable, "-c", twice, "generate", *words, "--json"], **locale)

    assert (done.returncode, done.stderr) == (0, b"")
    as_json, plain = done.stdout.split(b"\n", 1)
    text = json.loads(as_json)["text"]
    assert not text.isascii()
    assert plain == f"{text}\n".encode(encoding, "backslashreplace")


def test_a_full_disk_behind_standard_output_is_one_line():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command("inspect", "run/model.keras"),
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=LONGEST,
        )
    assert done.returncode == 5
    assert done.stderr.decode().count("\n") == 1
    assert "must be usable, found No space left on device" in done.stderr.decode()


def test_no_standard_streams_at_all_is_no_error():
    shell = 'exec "$@" >&- 2>&- <&-'
    done = process(program=["sh", "-c", shell, "sh", *command("inspect", "run/model.keras")])
    assert done.returncode == 0


def test_a_library_on_the_way_says_nothing():
    done = process("train", "fox.txt", *QUICK, "--run-dir", "alone")
    assert (done.returncode, done.stderr) == (0, b"")
