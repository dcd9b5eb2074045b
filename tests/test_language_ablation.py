"""The ablation of a language model's regularisers: what its rows change, and what they give."""

import importlib.util
import json
from functools import partial
from pathlib import Path

import pytest

import kseq
from kseq.experiments import language_ablation as ablation

pytestmark = pytest.mark.engine("torch")

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "ablate_language_model.py"
TINY = {
    "units": 4,
    "num_layers": 1,
    "embedding_dim": 3,
    "batch_size": 2,
    "num_steps": 10,
    "epochs": 1,
    "nonmonotone": 1,
    "max_tokens": 900,
}


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("ablate_language_model", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_row_changes_settings_of_the_first_and_differs_from_it():
    first, *others = ablation.REGULARIZERS.values()
    assert not first
    for changes in others:
        assert changes.keys() <= ablation._EVERYTHING.keys()
        assert all(ablation._EVERYTHING[name] != value for name, value in changes.items())
    *left_out, nothing = others
    assert set().union(*left_out) == nothing.keys()


def test_every_row_has_its_figures_and_is_reported():
    seen = []
    names = ["everything", "without averaging", "nothing"]
    rows = kseq.ablate_language_model("story", names, **TINY, report=seen.append)
    assert rows == seen
    assert [row.name for row in rows] == names
    assert all(1 < row.held_out < 5 and 1 < row.training < 5 and row.epoch == 1 for row in rows)
    again = kseq.ablate_language_model("story", ["nothing"], **TINY)
    assert again[0].held_out == rows[-1].held_out


def test_the_script_prints_a_table_or_json(script, capsys, monkeypatch):
    sizes = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    two = partial(kseq.ablate_language_model, rows=["everything", "nothing"])
    monkeypatch.setattr(kseq, "ablate_language_model", two)
    assert script.main(["story", "--quick", *sizes]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["held", "out", "training", "epoch", "seconds"]
    assert len(lines) == 1 + 2
    assert script.main(["story", *sizes, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.items() >= ({"source": "story"} | TINY).items()
    assert [row["name"] for row in found["rows"]][-1] == "nothing"


def test_a_size_there_is_not_is_refused():
    with pytest.raises(kseq.UsageError, match=r"size: must be .*did you mean 'units'"):
        kseq.ablate_language_model("story", unit=4)


def test_a_row_there_is_not_is_refused():
    with pytest.raises(kseq.UsageError, match=r"row: must be .*did you mean 'nothing'"):
        kseq.ablate_language_model("story", ["everything", "nothin"])


def test_the_script_runs_the_rows_it_is_asked_for(script, capsys):
    sizes = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    assert script.main(["story", *sizes, "--rows", "without averaging", "nothing", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["rows"]
    assert [row["name"] for row in found] == ["without averaging", "nothing"]


def test_a_text_that_is_missing_is_told_in_a_line(script, capsys):
    assert script.main(["none.txt"]) == 5
    assert capsys.readouterr().err.startswith("error: none.txt: must be a text file")
