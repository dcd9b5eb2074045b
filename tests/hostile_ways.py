"""The ways in which a hostile or broken model file is made from a good one."""

import io
import json
import os
import struct
import tarfile
import zipfile

import numpy as np
from good_model_file import (
    CONFIG,
    LETTERS,
    METADATA,
    WEIGHTS,
    archive,
    good,
    good_config,
    good_members,
)

DAMAGED = "incomplete or corrupt"
UNKNOWN_PART = "must be compiled with parts that Keras or kseq bring"


def with_members(**changes):
    members = good_members()
    for name, content in changes.items():
        name = {"config": CONFIG, "metadata": METADATA, "weights": WEIGHTS}.get(name, name)
        if content is None:
            del members[name]
        else:
            members[name] = content
    return archive(members)


def with_config(change):
    config = good_config()
    changed = change(config)
    return with_members(config=json.dumps(config if changed is None else changed).encode())


def with_settings(**settings):
    return with_config(lambda config: config["config"].update(settings))


def with_compilation(**parts):
    return with_config(lambda config: config["compile_config"].update(parts))


def flipped(where, bit=3):
    content = bytearray(good())
    content[where] ^= 1 << bit
    return bytes(content)


def flipped_in(member, repair=False):
    """Flip a bit in the middle of a member, with the checksum left wrong or made right."""
    content = bytearray(good_members()[member])
    content[len(content) // 2] ^= 8
    if repair:
        return archive({**good_members(), member: bytes(content)})
    whole = good()
    return flipped(whole.index(good_members()[member]) + len(content) // 2)


def part(module, name, registered=None, config=None):
    return {
        "module": module,
        "class_name": name,
        "config": {} if config is None else config,
        "registered_name": registered,
    }


def named_function(module, name):
    return part(module, "function", name, name)


LAMBDA = part(
    "builtins", "__lambda__", config={"value": "4wEAAAAAAAAA", "defaults": None, "closure": None}
)


def central(content):
    """Give where the directory of an archive begins."""
    return struct.unpack_from("<L", content, len(content) - 6)[0]


def with_directory(change):
    content = bytearray(good())
    change(content, central(content))
    return bytes(content)


def with_field(offset, layout, value):
    return with_directory(lambda content, at: struct.pack_into(layout, content, at + offset, value))


def overlapping():
    """Give an archive whose directory names the same bytes twice."""
    content = with_members(assets=b"1")
    at = central(content)
    entry = content[at : at + 46 + len(METADATA)]
    doubled = content[:at] + entry + content[at:-22]
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 5, 5, len(doubled) - at, at, 0)
    return doubled + end


def zip64_lie():
    """Give an archive whose second directory end names another place than the first."""
    content = good()
    at = central(content)
    end = len(content) - 22
    second = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 3, 3, end - at, at - 30)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 3, 3, end - at, 2**32 - 1, 0)
    return content[:end] + second + locator + last


def nested_bomb():
    inner = archive({"a": bytes(10**7)}, zipfile.ZIP_DEFLATED)
    return archive({**good_members(), WEIGHTS: inner})


def newer(config):
    config["config"]["provenance"]["kseq_version"] = "99.0"


def without_vocabulary(config):
    del config["config"]["vocab"]


def longer_vocabulary(config):
    config["config"]["vocab"] = {"tokens": [*LETTERS, "Ω"]}


def huge_vocabulary(config):
    config["config"]["vocab"] = {"tokens": ["<unk>", *map(str, range(1_000_000))]}


def forecaster(config):
    config.update(class_name="Forecaster", registered_name="kseq>Forecaster")
    config["module"] = "kseq.nn.forecaster"
    config["config"] = {"kind": "gru", "window": 10**9, "units": 3}


def with_forecaster(**settings):
    """Give a file that says to hold a small perceptron; its weights are another model's."""

    def change(config):
        forecaster(config)
        config["config"] = {"kind": "mlp", "window": 4, "units": 3, **settings}

    return with_config(change)


def good_corpus():
    """Give what a file says of a text, as `Corpus.provenance` does."""
    return {
        "name": "a.txt",
        "sha256": "0" * 64,
        "edition": "",
        "level": "char",
        "cleaning": "none",
        "separator": "\n",
        "part": "training",
        "start": 0,
        "total": 70,
        "stop": 60,
        "documents": ["a.txt"],
        "pieces": [0, 60],
        "held_out": [],
    }


def deep(config):
    value = []
    for _ in range(100):
        value = [value]
    config["compile_config"]["loss"] = value


def repeated_key():
    text = json.dumps(good_config()).replace('"units": 6', '"units": 6, "units": 7')
    return with_members(config=text.encode())


def config_text(old, new):
    return with_members(config=json.dumps(good_config()).replace(old, new).encode())


def safetensors():
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4)


def as_tar():
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as file:
        member = tarfile.TarInfo(CONFIG)
        member.size = 2
        file.addfile(member, io.BytesIO(b"{}"))
    return content.getvalue()


def npz():
    content = io.BytesIO()
    np.savez(content, a=np.ones(3))
    return content.getvalue()


class Runs:
    """What a pickle that runs a command is made of."""

    def __reduce__(self):
        return os.system, ("echo harm",)
