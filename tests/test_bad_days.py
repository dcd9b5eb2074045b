"""Writers killed at random moments: what is there afterwards is the old file or the new one.

`--kills 1500` is the count of the promise, 2,500 in all; the default keeps the suite short.
"""

import os
import random
import signal
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from children import bounded

from kseq.data.files import write_bytes
from kseq.data.vocab import Vocab

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    # JAX warns of any fork; what is written where is the same on every engine.
    pytest.mark.engine("torch"),
]

VERSION_BYTES = 2**20


@pytest.fixture
def kills(request):
    return request.config.getoption("--kills")


def killed(work, delay, until=lambda: True):
    """Run `work(done)` in a child, kill it after `delay` seconds; return what it said was done.

    `until` says whether it has come as far as it has to.

    The child says so through a pipe, one byte for each finished write, after a first one for its
    start.
    """
    heard, saying = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(saying, b".")
            work(lambda: os.write(saying, b"."))
        finally:
            os._exit(1)
    os.close(saying)
    with bounded(child):
        assert os.read(heard, 1) == b"."
    time.sleep(delay)
    latest = time.monotonic() + 60
    while not until() and time.monotonic() < latest:
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    done = b"".join(iter(lambda: os.read(heard, 2**16), b""))
    os.close(heard)
    assert os.WIFSIGNALED(status), "the child must have been busy until it was killed"
    return len(done)


def version(number):
    return np.full(VERSION_BYTES // 8, number, np.int64).tobytes()


def seconds(write):
    """The least of three: how long a write takes here."""

    def one():
        start = time.perf_counter()
        write()
        return time.perf_counter() - start

    return min(one() for _ in range(3))


def test_killed_while_writing_again_and_again(tmp_path, kills):
    target, number, moments = tmp_path / "kept.bin", 0, random.Random(0)
    usual = seconds(lambda: write_bytes(target, version(0)))

    for _ in range(kills):
        first = number + 1

        def write_on(done, first=first):
            for each in range(first, first + 10**6):
                write_bytes(target, version(each))
                done()

        finished = number + killed(write_on, moments.uniform(0, 3 * usual))
        content = target.read_bytes()
        number = int.from_bytes(content[:8], "little")
        # The rename may be done, and the word of it not yet.
        assert number in (finished, finished + 1)
        assert content == version(number)
        assert len(list(tmp_path.iterdir())) <= 2

    write_bytes(target, version(number + 1))
    assert target.read_bytes() == version(number + 1)
    assert list(tmp_path.iterdir()) == [target]


def weights_in(path):
    """The distinct numbers among the weights of a whole model file."""
    h5py = pytest.importorskip("h5py")
    found = set()

    def note(name, item):
        if isinstance(item, h5py.Dataset) and item.dtype == np.float32:
            found.update(np.unique(item[()]).tolist())

    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        with archive.open("model.weights.h5") as member, h5py.File(member) as weights:
            weights.visititems(note)
    return found


def test_killed_while_saving_a_model(tmp_path, kills):
    import kseq

    target, moments = tmp_path / "model.keras", random.Random(0)
    model = kseq.LanguageModel(Vocab("abcdefgh"), units=64, num_layers=2)

    def fill(number):
        model.set_weights([np.full_like(each, number) for each in model.get_weights()])

    fill(0)
    usual = seconds(lambda: model.save(target))

    for number in range(1, 1 + kills * 2 // 3):
        before = target.read_bytes()
        fill(number)

        def save(done):
            model.save(target)
            done()
            signal.pause()

        finished = killed(save, moments.uniform(0, 1.5 * usual))
        if target.read_bytes() == before:
            assert not finished
        else:
            assert weights_in(target) == {number}
        assert len(list(tmp_path.iterdir())) <= 2

    model.save(target)
    assert list(tmp_path.iterdir()) == [target]
    assert np.unique(kseq.load_model(target).get_weights()[0]).tolist() == [number]


def test_a_vocabulary_is_saved_over_a_link_on_a_bad_day(tmp_path, monkeypatch):
    """A relative path, a link and a leftover at once."""
    monkeypatch.chdir(tmp_path)
    Path("big").mkdir()
    Path("vocab.json").symlink_to("big/vocab.json")
    killed(lambda _: write_half("vocab.json"), 0, until=lambda: any(Path("big").iterdir()))
    assert len(list(Path("big").iterdir())) == 1

    Vocab("banana").save("vocab.json")

    assert Vocab.load("big/vocab.json") == Vocab("banana")
    assert len(list(Path("big").iterdir())) == 1


def write_half(path):
    from kseq.data.files import atomic_path

    with atomic_path(path) as part:
        part.write_bytes(b"half")
        signal.pause()
