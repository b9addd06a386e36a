"""The objectives, by the name that a config calls them."""

from typing import Any

from lm.objectives.causal_lm import causal_lm
from lm.objectives.objective import Objective
from lm.types import UserError

OBJECTIVES = {'causal_lm': causal_lm}


def build(name: str, **settings: Any) -> Objective:
  """Returns objective `name` with its `settings`."""
  if name not in OBJECTIVES:
    raise UserError(
      f'There is no objective {name!r}. Set config.objective.name to one of'
      f' {", ".join(OBJECTIVES)}.'
    )
  return OBJECTIVES[name](**settings)
