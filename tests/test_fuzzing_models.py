"""Mutants of model files: each is refused with a word or is a file that means what it says."""

import faulthandler
import json
import random
from contextlib import contextmanager

import good_model_file
import pytest

from kseq import KseqError, inspect_model, load_model
from kseq.saving import check_model_file

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

SECONDS = 60
NAMES = (good_model_file.CONFIG, good_model_file.METADATA, good_model_file.WEIGHTS)
ODD_BYTES = (0, 1, 0x20, 0x7F, 0x80, 0xFE, 0xFF)
ODD_VALUES = (
    None,
    True,
    0,
    -1,
    2**31,
    10**12,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "a" * 5000,
    "\ud800",
    "lstm",
    [],
    [[]],
    {},
    {"class_name": "function", "config": "system", "module": "os", "registered_name": None},
)


def with_bytes(content, rng):
    """Change a few bytes."""
    content = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        if content:
            content[rng.randrange(len(content))] = rng.choice([*ODD_BYTES, rng.randrange(256)])
    return bytes(content)


def cut(content, rng):
    """Take a piece out, or the end off."""
    start = rng.randrange(len(content))
    return content[:start] + (b"" if rng.random() < 0.5 else content[start + rng.randint(1, 99) :])


def spliced(content, rng):
    """Put a piece of it in another place, over what is there or between."""
    start, at = rng.randrange(len(content)), rng.randrange(len(content))
    piece = content[start : start + rng.randint(1, 200)]
    return content[:at] + piece + content[at + rng.choice([0, len(piece)]) :]


def with_value(content, rng):
    """Put another value, or another key, somewhere in a JSON object."""
    value = json.loads(content)
    inside = rng.choice(list(objects(value)))
    keys = list(inside) if isinstance(inside, dict) else range(len(inside))
    if not keys:
        return content
    key, odd = rng.choice(list(keys)), rng.choice(ODD_VALUES)
    if rng.random() < 0.2:
        inside.pop(key)
    elif isinstance(inside, dict) and rng.random() < 0.2:
        inside[f"{key}_"] = odd
    else:
        inside[key] = odd
    return json.dumps(value).encode()


def objects(value):
    if isinstance(value, dict | list):
        yield value
        for one in value.values() if isinstance(value, dict) else value:
            yield from objects(one)


def in_member(change, names):
    """Change a member, and give the archive its right checksum."""

    def mutate(rng):
        members, name = dict(good_model_file.good_members()), rng.choice(names)
        return good_model_file.archive({**members, name: change(members[name], rng)})

    return mutate


def whole(change):
    return lambda rng: change(good_model_file.good(), rng)


def in_metadata(content, rng):
    """Change bytes of an HDF5 file outside its arrays, where its structure is."""
    signatures = [b"TREE", b"HEAP", b"SNOD", b"\x89HDF"]
    places = [at for word in signatures for at in positions(content, word)]
    content = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.choice(places) + rng.randrange(96)
        content[at % len(content)] = rng.choice([*ODD_BYTES, rng.randrange(256)])
    return bytes(content)


def positions(content, word):
    at = content.find(word)
    while at >= 0:
        yield at
        at = content.find(word, at + 1)


MUTATIONS = {
    "bytes": whole(with_bytes),
    "cuts": whole(cut),
    "splices": whole(spliced),
    "bytes of a member": in_member(with_bytes, NAMES),
    "cuts of a member": in_member(cut, NAMES),
    "splices of a member": in_member(spliced, NAMES),
    "values": in_member(with_value, NAMES[:2]),
    "structure": in_member(in_metadata, NAMES[2:]),
}


@contextmanager
def within(seconds):
    """End the process with a traceback if the block hangs."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def outcome(read, path):
    """Give what reading gives, or the class of the error that kseq raised."""
    try:
        return read(path)
    except KseqError as error:
        message = str(error)
        # A long path is cut in its middle.
        assert message.startswith(str(path)[:15]), message
        assert f"/{path.name}: " in message, message
        assert "\n" not in message
        assert len(message) <= 300
        return type(error)


@pytest.mark.parametrize("kind", MUTATIONS)
def test_a_mutant_is_refused_or_read(kind, tmp_path, pytestconfig):
    rng = random.Random(kind)
    # A quarter of all, rounded up.
    count = -(-pytestconfig.getoption("--mutants") // 4 // len(MUTATIONS))
    path, passed = tmp_path / "model.keras", []
    for _ in range(count):
        content = MUTATIONS[kind](rng)
        path.write_bytes(content)
        with within(SECONDS):
            told, checked = outcome(inspect_model, path), outcome(check_model_file, path)
        assert isinstance(told, type) == isinstance(checked, type)
        if not isinstance(told, type):
            passed.append((content, told))
    for content, told in passed[:5]:
        path.write_bytes(content)
        with within(SECONDS * 6):
            model = outcome(load_model, path)
        if not isinstance(model, type):
            assert model.count_params() == told["parameters"]
