"""Hours of work in one process: its memory, files and threads stay what they were.

`--minutes 20` is the long version; the figures are printed with `-s`.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MB_PER_1000_STEPS = 1.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.engine("torch"),
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc"),
]


@pytest.fixture(scope="module")
def figures(request):
    """What a process of its own measured of itself, which has no tests behind it."""
    minutes = request.config.getoption("--minutes")
    script = Path(__file__).with_name("enduring.py")
    command = [sys.executable, "-W", "ignore", str(script), str(minutes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stderr[-2000:]
    print(done.stdout)
    return json.loads(done.stdout.splitlines()[-1])


def test_memory_does_not_grow_with_steps(figures):
    assert figures["mb_per_1000_steps"] <= MB_PER_1000_STEPS


@pytest.mark.parametrize("what", ["open_files", "threads"])
def test_open_files_and_threads_stay_as_many(figures, what):
    least, most = figures[what]
    assert least == most


def test_a_long_text_costs_the_same_to_its_end(figures):
    assert figures["characters"] == 100_000
    # A core that slows down meanwhile is within 2; a cost that grows with the text is far above.
    assert figures["last_tenth_to_first"] < 2
    assert figures["mb_while_generating"] < 2
