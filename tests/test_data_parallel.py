"""JAX shares the rows of a batch out among its devices, and trains as on one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from children import LONGEST

pytestmark = pytest.mark.engine("jax")

TESTS = Path(__file__).resolve().parent
# Three rows of validation cannot be shared by two devices.
PROGRAM = """
import signal, sys
from contextlib import nullcontext
from pathlib import Path
from kseq.backend import alone
with alone():
    import jax, kseq, numpy as np
    from several_learners import learn, state_of
    folder = Path(sys.argv[1])
    # After so many steps somebody asks it to stop.
    strike = [int(sys.argv[2]), 0, signal.SIGINT] if sys.argv[2:] else None
    with kseq.data_parallel(4) if len(jax.devices()) > 1 else nullcontext():
        try:
            model, run = learn(folder, cell="lstm", dropout=0.0, strike=strike)
        except KeyboardInterrupt:
            sys.exit()
        text = model.generate("ab", 10)
    spread = len(model.trainable_variables[0].value.sharding.device_set)
    losses = [[record["loss"], record["val_loss"]] for record in run.records]
    np.savez(folder / "found.npz", losses=losses, spread=spread, text=text, **state_of(model))
"""
COMMAND = "import sys; from kseq.cli import main; sys.exit(main(sys.argv[1:]))"
REFUSED = """
import kseq
try:
    with kseq.data_parallel({rows}):
        pass
except kseq.UsageError as error:
    print(error)
"""


def on_devices(count, program, *words):
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]),
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def trained(count, folder, stops=()):
    """Train on so many devices, stopping on the way after so many steps; give what came of it."""
    folder.mkdir()
    for steps in stops:
        on_devices(count, PROGRAM, folder, steps)
        assert not (folder / "found.npz").exists()
    on_devices(count, PROGRAM, folder)
    return dict(np.load(folder / "found.npz"))


def test_two_devices_train_as_one_and_resume(tmp_path):
    one, two = (trained(count, tmp_path / str(count)) for count in (1, 2))
    # Stopped within the second epoch.
    resumed = trained(2, tmp_path / "resumed", stops=[30])
    assert [int(found.pop("spread")) for found in (one, two, resumed)] == [1, 2, 2]
    assert one.pop("text") == two.pop("text") == resumed.pop("text")
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-5, atol=1e-5, err_msg=name)
        np.testing.assert_array_equal(resumed[name], two[name], err_msg=name)


def test_the_command_line_trains_on_all_devices(tmp_path):
    words = ["train", "story", "--units", "8", "--num-layers", "1", "--epochs", "1", "--json"]
    words += ["--max-tokens", "4000", "--quiet", "--run-dir"]
    one = json.loads(on_devices(1, COMMAND, *words, tmp_path / "one"))
    two = json.loads(on_devices(2, COMMAND, *words, tmp_path / "two", "--data-parallel"))
    for part in ("training", "held_out"):
        assert two[part]["loss"] == pytest.approx(one[part]["loss"], rel=1e-5)


def test_devices_that_cannot_share_a_batch_are_refused():
    said = on_devices(2, REFUSED.format(rows=5))
    assert "batch_size: must be a multiple of the 2 devices, found 5; choose 4" in said
    said = on_devices(1, REFUSED.format(rows=4))
    assert "data_parallel: must have at least 2 devices, found 1; leave it out, or on a CPU" in said
