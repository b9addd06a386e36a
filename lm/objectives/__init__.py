"""The training objectives, by their names in configs."""

from typing import Any

from lm.objectives.answers import answers
from lm.objectives.causal_lm import causal_lm
from lm.objectives.deshuffling import deshuffling
from lm.objectives.iid_denoising import iid_denoising
from lm.objectives.infilling import infilling
from lm.objectives.labelled import label, span, tags
from lm.objectives.masked_lm import masked_lm
from lm.objectives.objective import Objective
from lm.objectives.prefix_lm import prefix_lm
from lm.objectives.replaced_tokens import replaced_tokens
from lm.objectives.span_corruption import span_corruption
from lm.objectives.ul2 import ul2
from lm.types import Form, UserError, Vocabulary

OBJECTIVES = {
  'causal_lm': causal_lm,
  'masked_lm': masked_lm,
  'span_corruption': span_corruption,
  'iid_denoising': iid_denoising,
  'prefix_lm': prefix_lm,
  'deshuffling': deshuffling,
  'infilling': infilling,
  'ul2': ul2,
  'replaced_tokens': replaced_tokens,
  'label': label,
  'tags': tags,
  'span': span,
  'answers': answers,
}


def build(
  name: str, form: Form, vocabulary: Vocabulary, **settings: Any
) -> Objective:
  """Returns objective `name` with its `settings`.

  Args:
    name: One of `OBJECTIVES`.
    form: Form of the model to be trained.
    vocabulary: Vocabulary of the tokenizer.
    **settings: Settings of the objective.

  Raises:
    UserError: There is no such objective, or it does not fit the model.
  """
  if name not in OBJECTIVES:
    raise UserError(
      f'There is no objective {name!r}. Set config.objective.name to one of'
      f' {", ".join(OBJECTIVES)}.'
    )
  return OBJECTIVES[name](form, vocabulary, **settings)
