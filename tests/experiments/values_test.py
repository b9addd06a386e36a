"""What users write becomes what signatures ask for, or a clear complaint."""

from collections.abc import Mapping
from typing import Any, Literal

import pytest

from experiments import values
from lm.types import UserError


@pytest.mark.parametrize(
  ('written', 'kind', 'meant'),
  [
    ('3', int, 3),
    ('1_000', int, 1000),
    ('3', float, 3.0),
    (3, float, 3.0),
    ('1e-3', float, 0.001),
    ('true', bool, True),
    ('False', bool, False),
    ('3', str, '3'),
    ('none', str, 'none'),
    ('none', str | None, None),
    ('None', int | None, None),
    (None, float | None, None),
    ('3', int | None, 3),
    ('3', int | float, 3),
    ('3.5', int | float, 3.5),
    ('x', int | str, 'x'),
    ('relu', Literal['gelu', 'relu'], 'relu'),
    ('2', Literal[1, 2], 2),
    ('1,2', tuple[int, ...], (1, 2)),
    ('(1, 2)', tuple[int, ...], (1, 2)),
    ('5', tuple[int, ...], (5,)),
    ('', tuple[str, ...], ()),
    ('1,b', tuple[str, ...], ('1', 'b')),
    ([1, 2], tuple[int, int], (1, 2)),
    ([1, 2.5], tuple, (1, 2.5)),
    ("(('a', 1),)", tuple[tuple[str, float], ...], (('a', 1.0),)),
    ("{'a': 1}", Mapping[str, int], {'a': 1}),
    ('[1]', Any, [1]),
    ('a b', Any, 'a b'),
  ],
)
def test_a_value_becomes_what_is_asked_for(written, kind, meant):
  value = values.convert('x', written, kind)
  assert value == meant
  assert type(value) is type(meant)


@pytest.mark.parametrize(
  ('written', 'kind', 'complaint'),
  [
    ('3.5', int, "x is '3.5', but it is to be an integer."),
    (True, int, 'x is True, but it is to be an integer.'),
    (1, bool, 'x is 1, but it is to be true or false.'),
    (1, str, 'x is 1, but it is to be a text.'),
    ('fast', float | None, "x is 'fast', but it is to be a number or none."),
    (
      'rellu',
      Literal['gelu', 'relu'],
      "x is 'rellu', but it is to be gelu or relu. Did you mean relu?",
    ),
    ('1,b', tuple[int, ...], "x is '1,b', but it is to be a tuple such as 1,2"),
    (
      'wandb,tensorbord',
      tuple[Literal['tensorboard', 'wandb'], ...],
      "x is 'wandb,tensorbord', but it is to be any of tensorboard, wandb,"
      ' separated by commas. Did you mean tensorboard?',
    ),
    ('1,2,3', tuple[int, int], 'but it is to be a tuple'),
    (3, Mapping[str, int], 'but it is to be a mapping'),
  ],
)
def test_what_does_not_fit_is_named(written, kind, complaint):
  with pytest.raises(UserError) as raised:
    values.convert('x', written, kind)
  assert complaint in str(raised.value)
