"""The engine: chosen once, by KERAS_BACKEND; and the devices it sees."""

import os
import subprocess
import sys

import pytest
from children import LONGEST
from conftest import ROOT

from kseq import UsageError, backend, best_device, devices


def python(program, **variables):
    """Run a program in a Python of its own; return its output and the last line of its errors."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    return done.stdout.strip(), (done.stderr.strip().splitlines() or [""])[-1]


def test_torch_is_the_default():
    program = "import os; os.environ.pop('KERAS_BACKEND'); import kseq; from kseq import backend; "

    assert python(program + "print(backend.engine(), os.environ['KERAS_BACKEND'])") == (
        "torch torch",
        "",
    )


def test_a_keras_imported_earlier_is_followed(tmp_path):
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    pytest.importorskip("jax")
    program = "import os; os.environ.pop('KERAS_BACKEND'); import keras, kseq; kseq.LSTM; "

    said = python(program + "print(kseq.backend.engine())", KERAS_HOME=str(tmp_path))

    assert said == ("jax", "")


def test_importing_kseq_imports_nothing_heavy():
    heavy = "{'keras', 'torch', 'jax', 'tensorflow', 'numpy', 'matplotlib'}"

    assert python(f"import sys, kseq; print(sorted({heavy} & set(sys.modules)))") == ("[]", "")


def test_an_unknown_engine_is_refused_with_the_known_ones():
    _, error = python("import kseq; kseq.LSTM", KERAS_BACKEND="theano")

    assert "must be one of torch, jax, tensorflow, found 'theano'" in error


def test_a_missing_engine_is_refused_with_the_command_that_installs_it():
    program = """
import importlib.util, kseq.backend as backend
backend.find_spec = lambda name: None if name == "jax" else importlib.util.find_spec(name)
backend.require_engine()
"""
    _, error = python(program, KERAS_BACKEND="jax")

    assert "found no package 'jax'" in error
    assert error.endswith("pip install 'kseq[jax]'")


def test_an_engine_changed_after_keras_was_imported_is_an_error(engine):
    other = "jax" if engine == "torch" else "torch"
    program = f"import os, kseq; kseq.LSTM; os.environ['KERAS_BACKEND'] = '{other}'; kseq.GRU"
    _, error = python(program)

    assert f"found '{other}' while '{engine}' is running" in error


def test_there_is_always_a_cpu_and_it_comes_last():
    found = devices()

    assert found[-1] == backend.Device("cpu", "cpu", found[-1].memory, found[-1].model)
    assert best_device() == found[0]


def test_devices_are_found_by_name_and_kind():
    assert backend.find_device("cpu").kind == "cpu"
    assert backend.find_device("CPU").kind == "cpu"


def test_an_absent_device_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match=r"must be a device the engine sees \(.*cpu\), found"):
        backend.find_device("cuda:93")


def test_models_are_made_where_they_are_told():
    import keras

    with backend.on_device(backend.find_device("cpu")):
        tensor = keras.ops.zeros((2,))

    assert "cpu" in str(getattr(tensor, "device", "cpu")).lower()
