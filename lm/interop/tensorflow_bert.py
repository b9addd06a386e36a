"""BERT as Google published it, its variables dumped to .npz or safetensors.

A directory holds `bert_config.json`, one file of arrays under the names of the
variables (`bert/encoder/layer_0/attention/self/query/kernel`), and optionally
`vocab.txt`. Its GELU is read as the exact one, with which the models were
trained; the current code has the tanh approximation.
"""

import json
import pathlib

from lm import models
from lm.interop import arrays as files, bert, parameters
from lm.interop.huggingface import Checkpoint, nested
from lm.interop.layouts import (
  KERNEL,
  KERNEL_OF_HEADS,
  LINEAR,
  TABLE,
  TOKEN_TABLE,
  TOKEN_VECTOR,
  VECTOR,
  Layout,
  Row,
  row,
)
from lm.models import heads as model_heads
from lm.types import UserError

CONFIG = 'bert_config.json'
BLOCK = 'encoder/block'
LAYER = 'bert/encoder/layer_{layer}'


def _dense(theirs: str, ours: str, layout: Layout = KERNEL) -> tuple[Row, ...]:
  return (
    row(f'{theirs}/kernel', layout, f'{ours}/kernel'),
    row(f'{theirs}/bias', VECTOR, f'{ours}/bias'),
  )


def _norm(theirs: str, ours: str) -> tuple[Row, ...]:
  return (
    row(f'{theirs}/LayerNorm/gamma', VECTOR, f'{ours}/scale'),
    row(f'{theirs}/LayerNorm/beta', VECTOR, f'{ours}/bias'),
  )


def _scores(prefix: str, *ours: str) -> tuple[Row, ...]:
  return (
    row(f'{prefix}output_weights', LINEAR, *[f'{o}/kernel' for o in ours]),
    row(f'{prefix}output_bias', VECTOR, *[f'{o}/bias' for o in ours]),
  )


BACKBONE = (
  row('bert/embeddings/word_embeddings', TOKEN_TABLE, 'token/embedding'),
  row('bert/embeddings/position_embeddings', TABLE, 'position/embedding'),
  row('bert/embeddings/token_type_embeddings', TABLE, 'token_type'),
  *_norm('bert/embeddings', 'embedding_norm'),
  *_dense(f'{LAYER}/attention/self/query', f'{BLOCK}/attention/query'),
  *_dense(f'{LAYER}/attention/self/key', f'{BLOCK}/attention/key'),
  *_dense(f'{LAYER}/attention/self/value', f'{BLOCK}/attention/value'),
  *_dense(
    f'{LAYER}/attention/output/dense',
    f'{BLOCK}/attention/out',
    KERNEL_OF_HEADS,
  ),
  *_norm(f'{LAYER}/attention/output', f'{BLOCK}/attention_norm'),
  *_dense(f'{LAYER}/intermediate/dense', f'{BLOCK}/mlp/up'),
  *_dense(f'{LAYER}/output/dense', f'{BLOCK}/mlp/down'),
  *_norm(f'{LAYER}/output', f'{BLOCK}/mlp_norm'),
  *_dense('bert/pooler/dense', 'pooler'),
)
HEADS = {
  ('tokens',): (
    *_dense('cls/predictions/transform/dense', 'transform'),
    *_norm('cls/predictions/transform', 'transform_norm'),
    row('cls/predictions/output_bias', TOKEN_VECTOR, 'output_bias'),
  ),
  ('next_sentence',): _scores('cls/seq_relationship/', 'next_sentence'),
  ('label',): _scores('', 'label'),
  ('start', 'end'): _scores('cls/squad/', 'start', 'end'),
}
# The state of the optimizer.
IGNORED = r'global_step|.*/adam_[mv]|(output_weights|output_bias)/adam_[mv]'


def read(directory: pathlib.Path) -> Checkpoint:
  """Reads such a directory.

  Raises:
    UserError: It does not have exactly one file of arrays, or an array is
      missing, left over or of the wrong shape.
  """
  config = json.loads((directory / CONFIG).read_text('utf-8'))
  found = sorted([*directory.glob('*.npz'), *directory.glob('*.safetensors')])
  if len(found) != 1:
    raise UserError(
      f'{directory} has a {CONFIG} and {len(found)} files of arrays (.npz or'
      ' .safetensors), but one is needed. Dump the variables of the checkpoint'
      ' under their names: TensorFlow lists them, and numpy.savez writes them.'
    )
  arrays = {
    name.removesuffix(':0'): array
    for name, array in files.read_file(found[0]).items()
  }
  heads = [
    terms
    for terms, rows in HEADS.items()
    if any(row.theirs in arrays for row in rows)
  ]
  wanted = tuple(term for terms in heads for term in terms)
  read_by = {*wanted} & {*model_heads.OF_TEXT}
  settings = bert.BERT.settings(config, arrays) | {
    'heads': wanted,
    'num_labels': arrays['output_bias'].size if 'label' in wanted else 2,
    'pooler': not read_by and 'bert/pooler/dense/kernel' in arrays,
  }
  section = {'name': 'bert', 'preset': 'base', **settings}
  rows = BACKBONE + tuple(row for terms in heads for row in HEADS[terms])
  params = parameters.read(
    arrays,
    parameters.Table(rows, ignored=IGNORED),
    models.build(**section),
    str(found[0]),
  )
  return Checkpoint(section, nested(params), {})
