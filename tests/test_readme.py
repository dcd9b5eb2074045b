"""Every command of the README runs, on little; its quick starts run as they stand."""

import re
import shlex
import shutil
from datetime import date, timedelta

import pytest
from command_line import kseq
from conftest import ROOT

from kseq.cli import reproduce
from kseq.experiments import published

README = (ROOT / "README.md").read_text("utf-8")
LITTLE = {
    "demo": ["--epochs", "1", "--run-dir", "run", "--quiet"],
    "train": ["--epochs", "1", "--units", "8", "--run-dir", "run", "--overwrite", "--quiet"],
    "forecast": ["--epochs", "1", "--run-dir", "run", "--overwrite", "--quiet"],
    "figures": ["clipping"],
    "benchmark": ["--engines=torch", "--subjects=overhead", "--rounds=1", "--seconds=0.01"],
}


def blocks(language):
    found = re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    return [block.replace("\\\n", " ") for block in found]


STARTS = (["kseq"], ["python3", "scripts/run.py"])


def commands():
    """The words of each `kseq` command in the README's shell blocks and tables."""
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    lines += re.findall(r"^\| `(kseq [^`]*)`", README, flags=re.MULTILINE)
    split = [shlex.split(line, comments=True) for line in lines]
    typed = [[w for w in words if not re.fullmatch("[A-Z_]+=.*", w)] for words in split]
    return [
        words[len(start) :] or ["demo"]
        for words in typed
        for start in STARTS
        if words[: len(start)] == start
    ]


@pytest.fixture
def somewhere(tmp_path, monkeypatch):
    """An empty folder to run in, with the models and texts the README's commands name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved_models").symlink_to(ROOT / "saved_models")
    for name in ("my_text.txt", "another.txt"):
        shutil.copy(ROOT / "kseq" / "data" / "story.txt", name)
    first = date(2025, 1, 1)
    weeks = [f"{first + timedelta(i)},{10 * (i % 7) + i / 10}" for i in range(336)]
    (tmp_path / "data.csv").write_text("\n".join(["date,y", *weeks]))
    return tmp_path


@pytest.mark.engine("torch")  # what the README says; the quick starts run under every engine
@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_runs(words, somewhere, request, monkeypatch):
    if {"time_machine", "tiny_shakespeare", "--recipe"} & set(words):
        monkeypatch.setenv("KSEQ_DATA_DIR", str(request.getfixturevalue("data_dir")))

    if words[0] == "reproduce":
        words = [word for word in words if word not in published.ROWS]
        monkeypatch.setattr(reproduce, "ROWS", {"d2l-8.1": published.ROWS["d2l-8.1"]})
    with_a_model = words[0] == "forecast" and any(word.endswith(".keras") for word in words)
    a_picture = words[0] == "figures" and len(words) > 1
    little = [] if with_a_model or a_picture else LITTLE.get(words[0], [])
    said = kseq(
        *words, *(word for word in little if not {word, *words} >= {"--overwrite", "--resume"})
    )

    assert said.code == 0, said.err
    assert said.out.strip()


def test_the_tree_names_every_module():
    modules = {path.name for path in (ROOT / "kseq").rglob("*.py")}

    assert [
        name for name in modules if f" {name} " not in README and f"/{name} " not in README
    ] == []


def test_the_readme_has_commands():
    tried = {"demo", "train", "evaluate", "generate", "forecast", "figures", "inspect", "devices"}

    assert {words[0] for words in commands()} == {*tried, "benchmark", "corpora", "reproduce"}


def said_by(code, capsys):
    exec(compile(code, "README.md", "exec"), {})
    return capsys.readouterr().out


def test_the_quick_start_runs(somewhere, capsys):
    said = said_by(blocks("python")[0], capsys)

    assert re.search(r"held-out perplexity \d+\.\d\d, guessing bigrams \d+\.\d\d", said)
    assert "the sea " in said
    assert (somewhere / "story.keras").is_file()


def test_the_forecaster_s_quick_start_says_what_the_readme_says(somewhere, capsys):
    """Up to the last digits, which differ between engines and processors."""
    said = said_by(blocks("python")[1], capsys)
    shown = re.search(r"^```\n(root mean square error .*?)^```", README, re.MULTILINE | re.DOTALL)

    numbers, expected = (re.findall(r"-?\d+\.\d*", text) for text in (said, shown[1]))
    assert len(numbers) == len(expected)
    assert [float(n) for n in numbers] == pytest.approx([float(n) for n in expected], abs=0.011)
    assert (somewhere / "sine.keras").is_file()
