"""Checkpoint files: what goes in comes out, and nothing that is damaged does."""

import hashlib
import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kseq import FileError
from kseq.runs.checkpoints import (
    Checkpoint,
    checkpoint_files,
    newest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)

pytestmark = pytest.mark.engine("torch")

ARRAYS = {
    "model/0": np.arange(12, dtype="float32").reshape(3, 4),
    "model/1": np.array(7, "int32"),
    "random streams": np.arange(5, dtype="uint8"),
}
FACTS = {"cursor": {"epoch": 1}, "figures": [0.1, 1e-300, None, "Ω"]}


def checkpoint(position, **facts):
    return Checkpoint(position, {**FACTS, **facts}, ARRAYS)


def equal(found, expected):
    assert (found.position, found.facts) == (expected.position, expected.facts)
    assert found.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        assert found.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[name], array)


def test_what_was_written_is_read(tmp_path):
    path = write_checkpoint(tmp_path, checkpoint(12), None)
    equal(read_checkpoint(path), checkpoint(12))
    name, position, digest = path.stem.split("-")
    assert (name, position) == ("checkpoint", "0000000012")
    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(digest)
    # Any NumPy reads it.
    with np.load(path) as archive:
        assert json.loads(bytes(archive["facts"])) == FACTS


@given(
    st.dictionaries(
        st.text("abc/ 0", min_size=1, max_size=5),
        arrays.arrays(
            st.sampled_from(["float32", "float64", "int64", "uint8", "bool"]),
            arrays.array_shapes(min_dims=0, max_dims=3, max_side=3),
        ),
        max_size=4,
    )
)
def test_any_arrays_come_back(tmp_path_factory, found):
    path = write_checkpoint(tmp_path_factory.mktemp("any"), Checkpoint(0, {}, found), None)
    again = read_checkpoint(path).arrays
    assert again.keys() == found.keys()
    for name, array in found.items():
        assert again[name].tobytes() == array.tobytes()
        assert (again[name].dtype, again[name].shape) == (array.dtype, array.shape)


def test_the_newest_two_are_kept(tmp_path):
    before = None
    for position in (1, 2, 3, 10):
        before = write_checkpoint(tmp_path, checkpoint(position), before)
    assert [int(path.name.split("-")[1]) for path in checkpoint_files(tmp_path)] == [10, 3]
    found, path = newest_checkpoint(tmp_path)
    equal(found, checkpoint(10))
    assert path == before


def test_what_is_no_checkpoint_is_left_alone(tmp_path):
    for name in ("checkpoint-1.npz", "checkpoint-mine.npz", "notes.txt"):
        (tmp_path / name).write_text("mine")
    write_checkpoint(tmp_path, checkpoint(1), None)
    assert len(list(tmp_path.iterdir())) == 4
    assert len(checkpoint_files(tmp_path)) == 1
    assert newest_checkpoint(tmp_path / "nowhere") is None


def test_a_disk_that_is_full_leaves_the_others_alone(tmp_path, monkeypatch):
    first = write_checkpoint(tmp_path, checkpoint(1), None)
    second = write_checkpoint(tmp_path, checkpoint(2), first)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        write_checkpoint(tmp_path, checkpoint(3), second)
    assert checkpoint_files(tmp_path) == [second, first]
    assert len(list(tmp_path.iterdir())) == 2


# Damage.


@pytest.mark.parametrize("content", [b"", b"PK", b"nothing of the kind"])
def test_a_damaged_one_is_named(tmp_path, content):
    path = write_checkpoint(tmp_path, checkpoint(1), None)
    path.write_bytes(content)
    with pytest.raises(
        FileError, match=r"\.npz: must be a whole checkpoint, found another SHA-256"
    ):
        newest_checkpoint(tmp_path)


def test_an_older_one_is_taken_with_a_warning(tmp_path):
    first = write_checkpoint(tmp_path, checkpoint(1), None)
    second = write_checkpoint(tmp_path, checkpoint(2), first)
    second.write_bytes(second.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=f"must be a whole.*an older one is taken, {first.name}"):
        found, path = newest_checkpoint(tmp_path)
    equal(found, checkpoint(1))
    assert path == first


def test_every_flipped_bit_is_found(tmp_path):
    path = write_checkpoint(tmp_path, checkpoint(1), None)
    whole, rng = path.read_bytes(), random.Random(0)
    for _ in range(200):
        flipped = bytearray(whole)
        flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(FileError, match="found another SHA-256"):
            read_checkpoint(path)


def named_as(content, folder):
    path = folder / f"checkpoint-0000000001-{hashlib.sha256(content).hexdigest()[:16]}.npz"
    path.write_bytes(content)
    return path


def test_a_mutant_with_the_right_hash_is_read_or_refused(tmp_path, request):
    """Somebody may rename a damaged file; it is then a refusal or arrays, nothing else."""
    whole = write_checkpoint(tmp_path / "..", checkpoint(1), None)
    content, rng, refused = whole.read_bytes(), random.Random(1), 0
    whole.unlink()
    for _ in range(request.config.getoption("--mutants") // 4):
        refused += is_refused(named_as(mutant(content, rng), tmp_path))
    assert refused


def is_refused(path):
    try:
        found = read_checkpoint(path)
    except FileError:
        return True
    finally:
        path.unlink()
    assert isinstance(found.facts, dict)
    assert all(isinstance(array, np.ndarray) for array in found.arrays.values())
    return False


def mutant(content, rng):
    """Change, cut out, double or put in a few bytes."""
    mutated = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at, length = rng.randrange(len(mutated)), rng.randint(1, 40)
        kind = rng.randrange(4)
        if kind == 0:
            mutated[at] = rng.randrange(256)
        elif kind == 1:
            del mutated[at : at + length]
        elif kind == 2:
            mutated[at:at] = mutated[at : at + length]
        else:
            mutated[at : at + length] = rng.randbytes(length)
        mutated = mutated or bytearray(b"PK")
    return bytes(mutated)
