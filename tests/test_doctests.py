"""Every example in a docstring runs, in a folder of its own."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# These belong to one engine each, and cannot be imported without it.
ENGINE_ROOMS = (
    "kseq.backend.on_torch",
    "kseq.backend.on_jax",
    "kseq.backend.on_tensorflow",
    "kseq.backend.jax_devices",
    "kseq.backend.tensorflow_feeding",
)


def module_names():
    paths = sorted((ROOT / "kseq").rglob("*.py"))
    parts = [path.relative_to(ROOT).with_suffix("").parts for path in paths]
    names = [".".join(part for part in each if part != "__init__") for each in parts]
    return [name for name in names if name not in ENGINE_ROOMS and name != "kseq.__main__"]


def failures(module):
    """What doctest says about the examples of `module` that fail."""
    said = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in doctest.DocTestFinder().find(module, module.__name__):
        runner.run(test, out=said.append)
    return "".join(said)


@pytest.mark.parametrize("name", module_names())
def test_examples(name, tmp_path, monkeypatch):
    module = import_module(name)
    monkeypatch.chdir(tmp_path)

    assert failures(module) == ""


def test_examples_of_the_engine_in_use(engine):
    assert failures(import_module(f"kseq.backend.on_{engine}")) == ""


def test_a_wrong_example_is_reported():
    module = type(doctest)("planted", ">>> 1 + 1\n3\n")

    assert "Expected:\n    3" in failures(module)
