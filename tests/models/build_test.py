"""A model that is built from Python is checked as one from a config is."""

import pytest

import lm
from lm import models
from lm.models import config
from lm.types import UserError


def test_a_setting_that_is_none_is_refused_with_the_nearest():
  with pytest.raises(
    UserError, match=r"no setting 'n_layers'. Did you mean num_"
  ):
    models.build('gpt', 'nano', vocab_size=9, n_layers=2)


@pytest.mark.parametrize('value', ['2', 2.5])
def test_a_number_of_layers_is_whole(value):
  with pytest.raises(
    UserError, match=f'num_layers is {value!r}, but it is a n'
  ):
    config.check('num_layers', int, value)


def test_parts_of_the_library_are_found_by_name():
  assert lm.models is models
  with pytest.raises(AttributeError, match="no attribute 'modles'"):
    _ = lm.modles
