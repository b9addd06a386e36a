"""A row of a batch as readable text: the inputs and the targets."""

import numpy as np

from lm.analysis import coloured_text
from lm.data.tokenizers import Tokenizer
from lm.types import Batch, UserError

Table = tuple[list[str], list[list[str]]]  # A header and its rows.


def table(
  batch: Batch, tokenizer: Tokenizer, row: int = 0, most: int = 20
) -> Table:
  """Returns the input and the target at each position of a row, as text.

      place         0      1    2       3
      reads         [CLS]  the  [MASK]  sat
      is asked for              cat

  For a model with an encoder, `source` is the input of that. `document` numbers
  packed documents.

  Args:
    batch: As prepared by an objective.
    tokenizer: The tokenizer of its tokens.
    row: The index of the row in the batch.
    most: The most positions to show.
  """
  if 'tokens' not in batch.targets:
    raise UserError(
      f'The batch asks for {", ".join(batch.targets)}, and no tokens, so there'
      ' is nothing to write below them. Give one of a text.'
    )
  inputs = {name: np.asarray(part)[row] for name, part in batch.inputs.items()}
  targets, weights = (
    np.asarray(part['tokens'])[row] for part in (batch.targets, batch.weights)
  )
  at = inputs.get('predict_at', np.arange(len(targets)))
  asked = weights > 0
  lines = {}
  if 'source_tokens' in inputs:
    lines['source'] = _read(inputs, 'source_', tokenizer)
  lines['reads'] = _read(inputs, '', tokenizer)
  if 'segment_ids' in inputs:
    lines['document'] = [str(id or '') for id in inputs['segment_ids'].tolist()]
  answers = [''] * len(inputs['tokens'])
  pieces = coloured_text.pieces(tokenizer, targets[asked])
  for place, piece in zip(at[asked].tolist(), pieces):
    answers[place] = piece
  lines['is asked for'] = answers
  longest = max(map(len, lines.values()))
  shown = min(most, longest)
  padded = {
    name: (line + [''] * longest)[:shown] for name, line in lines.items()
  }
  header = ['place', *map(str, range(shown))]
  return header, [[name, *line] for name, line in padded.items()]


def _read(
  inputs: dict[str, np.ndarray], start: str, tokenizer: Tokenizer
) -> list[str]:
  """Returns the text of each token, '' for padding."""
  tokens = inputs[f'{start}tokens']
  valid = inputs.get(f'{start}valid', np.ones(len(tokens), bool))
  pieces = coloured_text.pieces(tokenizer, tokens)
  return [piece if here else '' for piece, here in zip(pieces, valid)]
