"""Named trainings: each choice is one the command line would take, and gives way to the user's."""

import pytest

from kseq.cli.options import parse
from kseq.errors import UsageError
from kseq.experiments.recipes import RECIPES

pytestmark = pytest.mark.engine("torch")


def as_words(settings):
    return [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_its_options_written_out(name):
    recipe = RECIPES[name]
    written = vars(parse(["train", recipe.corpus, *as_words(recipe.settings)]))
    assert vars(parse(["train", "--recipe", name])) == {**written, "recipe": name}


def test_the_users_options_win():
    options = parse(["train", "story", "--recipe", "d2l-fast", "--cell=lstm", "--epochs", "3"])
    assert (options.corpus, options.cell, options.epochs) == (["story"], "lstm", 3)
    assert options.schedule == "one_cycle"


def test_a_recipe_is_gone_with_its_command():
    before = vars(parse(["train"]))
    parse(["train", "--recipe", "d2l"])
    assert vars(parse(["train"])) == before


def test_an_unknown_recipe_is_refused_with_the_names():
    with pytest.raises(UsageError, match=r"recipe: must be 'd2l', 'd2l-fast'.*found 'fast'"):
        parse(["train", "--recipe", "fast"])
