"""Published rows: their commands, how they are judged, and what `kseq reproduce` writes."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseq.cli import main, reproduce, reproduced
from kseq.cli.options import parse
from kseq.errors import DataError, UsageError
from kseq.experiments.beside import beside
from kseq.experiments.published import ROWS
from kseq.experiments.recipes import RECIPES
from kseq.experiments.rows import VERDICTS

pytestmark = pytest.mark.engine("torch")

TINY = "train story --max-tokens 3000 --valid 600 --units 4 --num-layers 1 --batch-size 4 --epochs"


@pytest.fixture
def rows(monkeypatch, tmp_path):
    """Two rows of a second each, and the folder their results go to."""
    row = replace(ROWS["d2l-9.2"], command=f"{TINY} 1", band=(1.0, 1e9), seconds=1, quick=True)
    small = {"one": row, "two": replace(row, band=(1.0, 1.01), what="another", quick=False)}
    monkeypatch.setattr(reproduce, "ROWS", small)
    return tmp_path / "results"


def run(*words):
    return main(["reproduce", *map(str, words)])


@pytest.mark.parametrize("name", ROWS)
def test_every_command_is_one_the_command_line_takes(name):
    row = ROWS[name]
    parsed = parse(row.command.split())
    assert parsed.command in ("train", "forecast", "figures")
    assert getattr(parsed, "recipe", None) is None or parsed.recipe in RECIPES


def test_every_section_the_project_claims_has_a_row():
    sources = " ".join(row.source for row in ROWS.values())
    sections = set(re.findall(r"Deep Learning ([\d.]+)", sources))
    assert sections == {"8.1", "8.5", "8.6", "9.1", "9.2", "9.3", "9.4"}


def test_the_quick_rows_fit_in_ten_minutes():
    assert 60 < sum(row.seconds for row in ROWS.values() if row.quick) <= 600


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (0.9, "better"),
        (1.0, "reproduced"),
        (1.1, "reproduced"),
        (1.1001, "missed"),
        (math.inf, "missed"),
        (math.nan, "missed"),
    ],
)
def test_a_value_is_judged_by_its_band(value, verdict):
    assert replace(ROWS["d2l-9.2"], band=(1.0, 1.1)).judge(value) == verdict


@given(st.floats(0, 10), st.floats(0, 10))
def test_a_lower_value_never_has_a_worse_verdict(one, other):
    row = ROWS["d2l-8.1"]
    order = ("better", "reproduced", "missed")
    assert set(order) == set(VERDICTS)
    low, high = sorted([one, other])
    assert order.index(row.judge(low)) <= order.index(row.judge(high))


def test_a_row_is_run_judged_and_kept(rows, capsys):
    assert run("one", "two", "--out", rows, "--quiet", "--json") == 0
    told = json.loads(capsys.readouterr().out)["rows"]
    kept = json.loads((rows / "results.json").read_text())
    history = json.loads((rows / "one/history.json").read_text())
    assert told["one"]["ours"]["value"] == kept["one"]["value"]
    assert kept["one"]["value"] == pytest.approx(history["epochs"][0]["perplexity"])
    assert [told[name]["ours"]["verdict"] for name in ("one", "two")] == ["reproduced", "missed"]
    assert kept["one"]["report"]["units"] == 4
    table = (rows / "results.md").read_text().splitlines()
    assert len(table) == 4
    assert "| `two` | another |" in table[3]
    assert "| missed | unseen text: perplexity " in table[3]


def test_each_of_several_books_is_shown_with_its_own_value(rows, monkeypatch, capsys):
    both = "train story story --units 4 --num-layers 1 --batch-size 64 --epochs 1"
    row = replace(reproduce.ROWS["one"], command=both, value=("held_out", "perplexity"))
    monkeypatch.setitem(reproduce.ROWS, "one", row)
    assert run("one", "--out", rows, "--quiet") == 0
    books = json.loads((rows / "results.json").read_text())["one"]["report"]["held_out"]
    own = [f"{each['perplexity']:.4g}" for each in books["documents"]]
    shown = [line.split() for line in capsys.readouterr().out.splitlines()[2:4]]
    assert shown == [["story", value] for value in own]
    assert f"(story {own[0]}; story {own[1]})" in (rows / "results.md").read_text()


def test_a_row_says_all_one_must_know_to_believe_it(rows, capsys):
    assert run("one", "--out", rows, "--quiet", "--seed", 3) == 0
    row, said = reproduce.ROWS["one"], capsys.readouterr().out
    held_out = json.loads((rows / "results.json").read_text())["one"]["report"]["held_out"]
    lines = said.splitlines()
    assert lines[2] == f"  {row.source}; band 1 - 1e+09 ({row.why})"
    perplexity, bigram = held_out["perplexity"], held_out["floors"]["bigram"]
    bits = held_out["bits_per_token"]
    assert lines[3].startswith(
        f"  unseen text: perplexity {perplexity:.4g}, {bits:.2f} bits a token"
    )
    assert lines[3].endswith(f", bigram {bigram:.4g}")
    assert re.fullmatch(r"  seed 3, torch, .*\d+ cores, expected about 0:01", lines[4])
    assert lines[5] == f"  kseq {TINY} 1"


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ({}, ()),
        (
            {"mse": {"mlp": {"test": 0.05}, "mean of last 4": {"test": 0.04}}},
            ("mean squared error on unseen points: mlp 0.05, mean of last 4 0.04",),
        ),
        (
            {"free_run_rmse": {"1": 1.5, "20": 0.5}},
            ("root mean square error on its own output: 1 given 1.5, 20 given 0.5",),
        ),
        (
            {"held_out": {"perplexity": 8.0, "floors": {"bigram": 9.0}}},
            ("unseen text: perplexity 8, 3.00 bits a token; counting has bigram 9",),
        ),
        (
            {"held_out": {"perplexity": None}},
            ("unseen text: perplexity nan, nan bits a token",),
        ),
        (
            {"seeing-ahead": {"numbers": {"withheld": 9.17, "bigram": 9.87, "text": "erer"}}},
            (
                "warning: with what comes next withheld, its perplexity is 9.17 where pairs of "
                'characters have 9.87, and it writes "erer"',
            ),
        ),
    ],
)
def test_no_figure_stands_alone(report, said):
    assert beside(report) == said


def test_results_are_added_to_and_shown(rows, capsys):
    assert run("--quick", "--out", rows, "--quiet") == 0
    assert run("two", "--out", rows, "--quiet", "--seed", 3) == 0
    capsys.readouterr()
    assert run("--out", rows) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown if line[0] != " "] == ["row", "one", "two"]
    assert json.loads((rows / "results.json").read_text())["two"]["seed"] == 3


def test_the_command_of_a_row_is_told(rows, capsys):
    assert run("one", "--out", rows, "--seed", 3) == 0
    assert f"\nkseq {TINY} 1 --seed 3\n" in capsys.readouterr().err


def test_nothing_is_run_or_written_to_show_the_rows(tmp_path, capsys):
    assert run("--out", tmp_path / "none") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ROWS)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"one": {}}',
        '{"one": {"value": "much"}}',
        "7",
        '{"one": {"value": 1, "seconds": 1, "report": {"held_out": {"documents": [7]}}}}',
    ],
)
def test_results_that_are_not_ours_are_refused_and_kept(rows, content, capsys):
    rows.mkdir()
    (rows / "results.json").write_text(content)
    assert run("one", "--out", rows) == 3
    assert "must hold what kseq reproduce wrote" in capsys.readouterr().err
    assert (rows / "results.json").read_text() == content


def test_values_that_are_no_numbers_survive_the_file(tmp_path):
    result = {"value": math.inf, "verdict": "missed", "seconds": 1.0, "seed": 0}
    path = tmp_path / "results.json"
    path.write_text(json.dumps(reproduce.finite({"d2l-9.2": result})))
    assert math.isnan(reproduced.read_results(path, ROWS)["d2l-9.2"]["value"])


def test_books_whose_figures_are_not_finite_are_shown_all_the_same(tmp_path):
    books = [{"name": "a|b\nc", "perplexity": None}, {"name": "fox", "perplexity": 2.0}]
    result = {"value": None, "seconds": 1.0, "report": {"held_out": {"documents": books}}}
    (tmp_path / "r.json").write_text(json.dumps({"d2l-9.2": result}))
    table = reproduced.as_table(
        ROWS, reproduced.read_results(tmp_path / "r.json", ROWS)
    ).splitlines()
    assert len(table) == 3
    assert "| nan (a/b?c nan; fox 2) |" in table[2]


def test_an_unknown_row_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"row: must be .*did you mean 'd2l-9\.2'"):
        reproduce.chosen(parse(["reproduce", "d2l-9.22"]))


def test_a_text_that_is_missing_is_told_before_the_first_row(rows, capsys, monkeypatch):
    gone = replace(reproduce.ROWS["two"], command="train gone.txt")
    monkeypatch.setattr(reproduce, "ROWS", {**reproduce.ROWS, "two": gone})
    assert run("one", "two", "--out", rows, "--quiet") == 5
    assert "gone.txt: must be a text file" in capsys.readouterr().err
    assert not rows.exists()


def test_a_row_that_was_stopped_goes_on(rows, monkeypatch):
    monkeypatch.setitem(reproduce.ROWS, "one", replace(reproduce.ROWS["one"], command=f"{TINY} 2"))
    assert run("one", "--out", rows, "--quiet") == 0
    whole = json.loads((rows / "results.json").read_text())["one"]["value"]
    monkeypatch.setitem(reproduce.ROWS, "one", replace(reproduce.ROWS["one"], command=f"{TINY} 1"))
    assert run("one", "--out", rows, "--quiet") == 0
    (rows / "results.json").unlink()
    monkeypatch.setitem(reproduce.ROWS, "one", replace(reproduce.ROWS["one"], command=f"{TINY} 2"))
    assert run("one", "--out", rows, "--quiet", "--resume") == 0
    assert "| resumed | seed 0, " in (rows / "results.md").read_text()
    found = json.loads((rows / "results.json").read_text())["one"]
    assert found["value"] == whole
    assert found["report"]["epochs"] == 2


def test_a_row_that_is_done_is_not_run_again(rows, monkeypatch):
    assert run("one", "--out", rows, "--quiet") == 0
    monkeypatch.setattr(reproduce, "_result", None)
    assert run("one", "--out", rows, "--quiet", "--resume") == 0


@pytest.mark.parametrize("words", [["one", "--quick"], ["--quick", "--all"]], ids=" ".join)
def test_rows_are_chosen_in_one_way(rows, words, capsys):
    assert run(*words, "--out", rows) == 2
    assert "rows: must be named, or chosen by --quick or by --all" in capsys.readouterr().err


def test_old_results_are_judged_by_the_bands_of_today(tmp_path):
    result = {"value": 99.0, "verdict": "reproduced", "seconds": 1.0}
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"d2l-9.2": result}))
    assert reproduced.read_results(path, ROWS)["d2l-9.2"]["verdict"] == "missed"


def test_the_table_in_the_readme_has_the_rows_as_they_are():
    lines = Path("README.md").read_text("utf-8").splitlines()
    told = {line.split("`")[1]: line for line in lines if re.match(r"\| `[a-z0-9.-]+` \| ", line)}
    for name, row in ROWS.items():
        if name in told:
            cells = [cell.strip() for cell in told[name].strip("|").split("|")]
            assert cells[1:4] == [row.what, row.source, row.published]
            assert cells[4] == row.measure
            assert cells[7] == row.judge(float(cells[6].split()[0]))
            assert cells[8], "nothing stands beside it"
            assert cells[-1] == f"`kseq {row.command}`"


def test_a_broken_value_names_the_file(tmp_path):
    (tmp_path / "r.json").write_text("[")
    with pytest.raises(DataError, match=r"r\.json: must hold what kseq reproduce wrote"):
        reproduced.read_results(tmp_path / "r.json", ROWS)
