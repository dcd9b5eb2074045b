"""The promises of the house: floors, engines behind one door, a tidy top level, a quick start.

The import contracts themselves stand in pyproject.toml and are checked by import-linter; what
it cannot see (Keras's private modules, engines imported by name) is checked here.
"""

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from children import LONGEST

from kseq.cli.options import parse

pytestmark = pytest.mark.engine("torch")

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "kseq"
MODULES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
LONGEST_FILE = 300
TOP_LEVEL = {
    "CHANGELOG.md",
    "SECURITY.md",
    "README.md",
    "kseq",
    "pyproject.toml",
    "saved_models",
    "scripts",
    "tests",
}
HEAVY = ("jax", "keras", "matplotlib", "numpy", "tensorflow", "torch")
ENGINES = ("jax", "tensorflow", "torch")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def modules_outside(room):
    return [path for path in MODULES if not path.is_relative_to(PACKAGE / room)]


# Imports


def lint_imports(folder):
    program = "import sys; from importlinter.cli import lint_imports_command as main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )


def test_imports_keep_the_contracts():
    done = lint_imports(ROOT)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_planted_violations_break_each_contract(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "kseq", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    planted = tmp_path / "kseq"
    (planted / "nn" / "planted.py").write_text("def late():\n    import torch.nn\n")
    (planted / "data" / "planted.py").write_text("def late():\n    from keras import ops\n")
    (planted / "backend" / "planted.py").write_text("import kseq.nn.planted\n")
    (planted / "homeless.py").touch()

    done = lint_imports(tmp_path)

    assert done.returncode == 1
    assert "0 kept, 3 broken" in done.stdout
    words = " ".join(done.stdout.split())
    assert "kseq.homeless" in words
    assert "kseq.nn.planted -> torch (l.2)" in words
    assert "kseq.data.planted -> keras (l.2)" in words


def test_a_planted_upward_import_breaks_the_floors(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "kseq", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "kseq" / "backend" / "planted.py").write_text(
        "def late():\n    from kseq.nn import metrics\n"
    )

    done = lint_imports(tmp_path)

    assert done.returncode == 1
    assert "kseq.backend is not allowed to import kseq.nn" in done.stdout


def hidden_imports(source):
    """Line numbers where Keras's private modules, or an engine by its name, are imported."""
    nodes = ast.walk(ast.parse(source))
    return sorted({node.lineno for node in nodes if _is_hidden_import(node)})


def _is_hidden_import(node):
    if isinstance(node, ast.Import):
        return any(_is_private(alias.name) for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return any(_is_private(f"{node.module}.{alias.name}") for alias in node.names)
    if isinstance(node, ast.Attribute):
        return _is_private(ast.unparse(node))
    return isinstance(node, ast.Call) and _imports_engine_by_name(node)


def _is_private(dotted):
    return f"{dotted}.".startswith("keras.src.")


def _imports_engine_by_name(call):
    function = ast.unparse(call.func).rpartition(".")[2]
    names = [arg.value for arg in call.args if isinstance(arg, ast.Constant)]
    return function in ("import_module", "__import__") and any(
        str(name).partition(".")[0] in (*ENGINES, "keras") for name in names
    )


@pytest.mark.parametrize("path", modules_outside("backend"), ids=name_of)
def test_no_engine_comes_in_by_a_side_door(path):
    assert hidden_imports(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "planted",
    [
        "import keras.src.backend.torch",
        "from keras.src import backend",
        "from keras import src",
        "def late():\n    from keras.src.backend import torch",
        "import keras\nkeras.src.backend.torch",
        "import_module('torch')",
        "importlib.import_module('jax.numpy')",
        "__import__('tensorflow')",
    ],
)
def test_planted_side_doors_are_seen(planted):
    assert hidden_imports(planted) == [planted.count("\n") + 1]


def test_open_doors_are_not_taken_for_side_doors():
    assert hidden_imports("import keras\nkeras.ops.exp\nimport_module('kseq.nn')") == []


def private_uses(source):
    """Modules of kseq below its public face that `source` imports."""
    nodes = list(ast.walk(ast.parse(source)))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    froms = [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
    return [name for name in plain + froms if name.startswith("kseq.")]


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_scripts_use_only_the_public_face(path):
    assert private_uses(path.read_text("utf-8")) == []


def test_a_planted_use_of_a_private_module_is_seen():
    planted = (
        "from kseq import Vocab\nimport kseq.data.text\nfrom kseq.nn.metrics import Perplexity"
    )
    assert private_uses(planted) == ["kseq.data.text", "kseq.nn.metrics"]


# Files


def test_the_top_level_holds_what_the_readme_lists():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: what belongs to the project is unknown")
    command = [
        "git",
        "-c",
        f"safe.directory={ROOT}",
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    listed = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=LONGEST
    )
    names = {line.partition("/")[0] for line in listed.stdout.splitlines()}

    assert {name for name in names if not name.startswith(".")} <= TOP_LEVEL


@pytest.mark.parametrize("path", MODULES + SCRIPTS, ids=name_of)
def test_no_file_is_longer_than_one_subject(path):
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("path", modules_outside("cli"), ids=name_of)
def test_only_the_command_line_prints(path):
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    assert [node.lineno for node in calls if ast.unparse(node.func) == "print"] == []


def test_every_file_of_the_package_that_is_no_module_is_packaged():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["kseq"]
    files = [path for path in PACKAGE.rglob("*") if path.suffix not in ("", ".py")]
    names = [
        path.relative_to(PACKAGE).as_posix() for path in files if "__pycache__" not in path.parts
    ]

    assert "py.typed" in names
    assert [name for name in names if not any(fnmatch(name, p) for p in patterns)] == []


def test_every_tool_is_pinned_exactly_and_tried_versions_stand_in_the_constraints():
    extras = PROJECT["project"]["optional-dependencies"]
    needed = [*PROJECT["project"]["dependencies"], *extras["jax"], *extras["tensorflow"]]
    lines = (ROOT / "scripts" / "constraints.txt").read_text("utf-8").splitlines()
    tried = [line for line in lines if line and not line.startswith("#")]

    assert all("==" in tool for tool in extras["test"])
    assert all("==" in line for line in tried)
    assert {re.split("[><=]", line)[0] for line in tried} == {
        re.split("[><=]", line)[0] for line in needed
    }


# Starts


def heavy_modules_after(program, *arguments):
    """The heavy modules loaded once `program` has run in a fresh interpreter."""
    report = (
        "import atexit, json, sys; atexit.register(lambda: print(json.dumps([*sys.modules])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", report + program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    return sorted(loaded & set(HEAVY))


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["generate", "--help"]])
def test_help_loads_no_engine_no_keras_and_no_figures(arguments):
    program = "import runpy; runpy.run_module('kseq', run_name='__main__', alter_sys=True)"

    assert heavy_modules_after(program, *arguments) == []


def test_importing_kseq_loads_nothing_heavy():
    assert heavy_modules_after("import kseq") == []


def test_reading_a_text_loads_no_engine_and_no_keras():
    assert heavy_modules_after("import kseq; kseq.load_corpus('story')") == ["numpy"]


# README


def fenced_lines(text):
    blocks = re.findall(r"^```bash\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    joined = "".join(blocks).replace("\\\n", " ")
    return [line.strip().removeprefix("$ ") for line in joined.splitlines()]


def arguments_of(line):
    """The words of a shell line as the program gets them: no comment, no variables, no pipe."""
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    ends = [place for place, word in enumerate(words) if word in ("|", ">", "&&", "||", ";")]
    return words[: ends[0]] if ends else words


def readme_commands(program):
    lines = (arguments_of(line) for line in fenced_lines((ROOT / "README.md").read_text("utf-8")))
    size = len(program)
    return [words[size:] for words in lines if words[:size] == program]


def test_commands_are_read_as_the_shell_reads_them():
    shell = "$ KERAS_BACKEND=jax kseq train \\\n  story  # ten minutes\nkseq devices | cat\n"
    text = f"Words\n```bash\n{shell}```\nkseq demo\n"

    assert [arguments_of(line) for line in fenced_lines(text)] == [
        ["kseq", "train", "story"],
        ["kseq", "devices"],
    ]


def test_each_script_in_the_readme_exists():
    named = [words[0] for words in readme_commands(["python3"]) if words]

    assert {"scripts/run.py", "scripts/test.py"} <= set(named)
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_each_kseq_command_in_the_readme_is_understood():
    commands = readme_commands(["kseq"]) + readme_commands(["python3", "scripts/run.py"])
    assert commands
    for words in commands:
        if "--help" not in words:
            parse(words or ["demo"])
