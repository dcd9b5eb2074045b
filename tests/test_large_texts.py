"""Texts that are large: memory stays in proportion to the file."""

import os
import subprocess
import sys

import pytest
from children import LONGEST
from conftest import ROOT

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

SIZE = 256 * 2**20
PROGRAM = """
import sys
import kseq
kseq.Corpus.from_text("warm up")

def peak():  # ru_maxrss would be that of whoever started this process, if it was larger
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])

before = peak()
train, valid = kseq.load_corpus(sys.argv[1]).split(0.9)
assert len(train) + len(valid) == int(sys.argv[2])
print((peak() - before) * 1024)
"""


@pytest.mark.slow
def test_one_long_line_takes_at_most_three_times_its_size(tmp_path):
    path = tmp_path / "line.txt"
    with path.open("wb") as file:
        for _ in range(SIZE // 2**20):
            file.write(b"the same words over and over in " * 2**15)

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), str(SIZE)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=LONGEST,
    )

    assert int(done.stdout) <= 3 * SIZE
