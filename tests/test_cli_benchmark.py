"""`kseq benchmark`: one object for a script, a table for a person, and errors before any work."""

from pathlib import Path

import pytest
from benchmark_cases import SIZES, workers_here
from command_line import kseq, refused, works

from kseq.benchmark import running
from kseq.benchmark.result import Row

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

TINY = [
    "--quick",
    "--subjects",
    "training",
    "--cells",
    "gru",
    "--rounds",
    "1",
    "--seconds",
    "0.001",
]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, engine):
    """Tiny models, measured in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "workers", workers_here(engine, []))
    whole = running.cases
    tiny = lambda *given: [running.replace(case, **SIZES) for case in whole(*given)]  # noqa: E731
    monkeypatch.setattr(running, "cases", tiny)


def test_the_table_and_the_object_agree(engine):
    words = [*TINY, "--engines", engine, "--threads", "1"]
    said, report = works("benchmark", *words), works("benchmark", *words, "--json").report

    lines = said.out.splitlines()
    names = [line.split("  ")[0] for line in lines if line.startswith(f"{engine}: ")]
    assert names == [f"{row['engine']}: {row['contender']}" for row in report["rows"]]
    assert f"x {'d2l' if engine == 'torch' else 'Keras'}" in said.out
    assert report["machine"]["processor"] in lines[0]
    assert "1 threads" in lines[0]
    assert f"{engine} {report['versions'][engine]}" in lines[0]
    assert report["command"]["cells"] == "gru"
    assert report["failures"] == []
    # Nothing but the result where nobody watches.
    assert said.err == ""


def test_pictures_are_written_and_kept(engine):
    words = [*TINY, "--engines", engine, "--figure", "out/speed.png"]
    report = works("benchmark", *words, "--json").report

    assert report["files"] == [str(Path("out") / "speed.png")]
    assert Path("out/speed.png").read_bytes().startswith(b"\x89PNG")
    assert "must hold no earlier results, found speed.png" in refused(2, "benchmark", *words)
    works("benchmark", *words, "--overwrite")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--engines", "theano"], "engines: must be 'torch', 'jax' or 'tensorflow', found"),
        (["--engines", "torch,"], "engines: must be"),
        (["--cells", "ltsm"], "found 'ltsm'; did you mean 'lstm'?"),
        (["--subjects", "speed"], "subjects: must be"),
        (["--rounds", "0"], "--rounds: must be a whole number, at least 1"),
        (["--threads", "many"], "--threads: must be a whole number"),
        (["--seconds", "0"], "--seconds: must be a finite number above 0"),
        (["--figure", "speed.jpeg"], "--figure: must end in .png or .svg, found 'speed.jpeg'"),
        (["--quick", "--subjects", "scaling"], "subjects: must be measured"),
        (["--fast"], "must get options it knows, found '--fast'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_used_is_refused(words, found):
    assert found in refused(2, "benchmark", *words)


def test_what_was_measured_before_ctrl_c_is_shown(monkeypatch):
    row = Row("training", "training, gru", "torch", "kseq", "tokens/s", 9.0, 8.0, 10.0, 1)

    def stopped(plan, tell, result):
        result.rows.append(row)
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "benchmark", stopped)
    said = kseq("benchmark", *TINY, "--json")

    assert said.code == 130
    assert said.report["rows"][0]["median"] == 9.0
