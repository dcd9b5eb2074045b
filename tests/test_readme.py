"""Every command of the README runs, on little; its quick start runs as it stands."""

import re
import shlex
import shutil

import pytest
from command_line import kseq
from conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")
LITTLE = {
    "demo": ["--epochs", "1", "--run-dir", "run", "--quiet"],
    "train": ["--epochs", "1", "--units", "8", "--run-dir", "run", "--overwrite", "--quiet"],
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
    return tmp_path


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_runs(words, somewhere, request, monkeypatch):
    if "time_machine" in words:
        monkeypatch.setenv("KSEQ_DATA_DIR", str(request.getfixturevalue("data_dir")))

    said = kseq(*words, *LITTLE.get(words[0], []))

    assert said.code == 0, said.err
    assert said.out.strip()


def test_the_tree_names_every_module():
    modules = {path.name for path in (ROOT / "kseq").rglob("*.py")}

    assert [
        name for name in modules if f" {name} " not in README and f"/{name} " not in README
    ] == []


def test_the_readme_has_commands():
    assert {words[0] for words in commands()} >= {"demo", "train", "evaluate", "generate"}


def test_the_quick_start_runs(somewhere, capsys):
    (quick_start,) = blocks("python")

    exec(compile(quick_start, "README.md", "exec"), {})

    said = capsys.readouterr().out
    assert re.search(r"held-out perplexity \d+\.\d\d, guessing bigrams \d+\.\d\d", said)
    assert "the sea " in said
    assert (somewhere / "story.keras").is_file()
