"""What may import what: each layer only from those below it."""

import ast
import pathlib
import re
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# What each part of lm may import of the others.
BELOW = {
  'types': set(),
  'parallel': {'types'},
  'data': {'types'},
  'models': {'types', 'parallel'},  # Where activations are placed.
  'objectives': {'types', 'data'},  # What is random on the host.
}
BELOW['analysis'] = BELOW['generation'] = {*BELOW}
BELOW['records'] = {'types', 'data'}
BELOW['tasks'] = {*BELOW}
BELOW['training'] = {*BELOW}  # A run draws its curve and writes samples.
BELOW['scoring'] = {*BELOW} - {'training', 'tasks'}
BELOW['comparison'] = {*BELOW}
BELOW['interop'] = {*BELOW}
BELOW['pretrained'] = {*BELOW}  # A model with all that belongs to it.
BELOW['__init__'] = {*BELOW}  # `lm.load` and the like.

# Which packages the files of a pattern must not import.
FORBIDDEN = (
  (r'(lm|experiments|configs)/', r'tensorflow'),
  # What compares a conversion with transformers, where that is installed.
  (r'(lm|experiments/(?!convert)|configs)/', r'torch|transformers'),
  (r'(lm/(?!training/checkpoint)|experiments/)', r'orbax'),
  (r'(lm/(?!data/beam_pipeline)|experiments/|configs/)', r'apache_beam'),
  (r'(lm/(?!interop/harness)|experiments/|configs/)', r'lm_eval'),
  (r'lm/data/', r'jax|flax|optax'),
  (r'lm/', r'experiments|configs|tests|benchmarks'),
  (r'configs/(?!compare/)', r'(?!ml_collections$).*'),
  # What the studies have in common has one home.
  (r'configs/compare/', r'(?!(ml_collections|configs)$).*'),
)
MAKES_A_MESH = {'jax.make_mesh', 'jax.sharding.Mesh'}


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
  """Yields each imported name in full, and the name that the file gives it."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      for item in node.names:
        local = item.asname or item.name.partition('.')[0]
        yield item.name, local
    elif isinstance(node, ast.ImportFrom):
      for item in node.names:
        module = '.' * node.level + (node.module or '')
        yield f'{module}.{item.name}', item.asname or item.name


def calls(tree: ast.AST) -> Iterator[str]:
  """Yields the name of each function called, as it is imported."""
  full = {local: name for name, local in imports(tree) if '.' in name}
  for node in ast.walk(tree):
    if isinstance(node, ast.Call):
      first, *rest = ast.unparse(node.func).split('.')
      yield '.'.join([full.get(first, first), *rest])


def complaints(path: str, source: str) -> list[str]:
  """Returns what is wrong in a file, `path` being within the project."""
  tree = ast.parse(source)
  found = []
  for name, _ in imports(tree):
    first, *rest = name.split('.')
    if not first:
      found.append(f'{path} imports {name}: write the whole path.')
    for files, packages in FORBIDDEN:
      if re.match(files, path) and re.fullmatch(packages, first):
        found.append(f'{path} must not import {name}.')
    if path.startswith('lm/') and first == 'lm':
      own = path.split('/')[1].removesuffix('.py')
      if rest[0] not in BELOW.get(own, set()) | {own}:
        found.append(
          f'{path} must not import {name}: it is not below lm/{own}.'
        )
  if not path.startswith(('lm/parallel/', 'tests/', 'benchmarks/')):
    made = MAKES_A_MESH.intersection(calls(tree))
    found += [
      f'{path} must not call {name}: lm/parallel does.' for name in made
    ]
  return found


def test_imports_point_down():
  files = [
    file
    for folder in ('lm', 'experiments', 'configs', 'benchmarks')
    for file in (ROOT / folder).rglob('*.py')
  ]
  assert len(files) > 10
  found = []
  for file in files:
    path = file.relative_to(ROOT).as_posix()
    found += complaints(path, file.read_text())
  assert not found, '\n'.join(found)


def test_every_part_of_lm_has_its_layer():
  parts = {path.stem for path in (ROOT / 'lm').iterdir()} - {'__pycache__'}
  assert parts <= BELOW.keys()


@pytest.mark.parametrize(
  ('path', 'source'),
  [
    ('lm/models/gpt.py', 'from lm.objectives import causal_lm'),
    ('lm/models/gpt.py', 'from lm import data'),
    ('lm/models/gpt.py', 'import lm.data.sources'),
    ('lm/objectives/causal_lm.py', 'def f():\n  from lm.models import gpt'),
    ('lm/parallel/mesh.py', 'from lm.training import step'),
    ('lm/analysis/flops.py', 'from lm.training import loop'),
    ('lm/training/loop.py', 'from experiments import command'),
    ('lm/training/loop.py', 'import orbax.checkpoint as ocp'),
    ('lm/training/loop.py', 'from . import step'),
    ('lm/data/sources.py', 'import jax.numpy as jnp'),
    ('lm/data/beam_build.py', 'import apache_beam as beam'),
    ('experiments/harness.py', 'from lm_eval import evaluator'),
    ('lm/scoring/texts.py', 'from lm.training import loop'),
    ('lm/types.py', 'from lm import models'),
    ('lm/interop/huggingface.py', 'import torch'),
    ('experiments/train.py', 'from tensorflow import io'),
    ('configs/gpt.py', 'import lm'),
    ('configs/gpt.py', 'import math'),
    ('lm/training/loop.py', 'import jax\njax.make_mesh((1,), ("a",))'),
    ('lm/training/loop.py', 'from jax import sharding as s\ns.Mesh([], ())'),
    ('experiments/x.py', 'from jax.sharding import Mesh as M\nM([], ())'),
  ],
)
def test_an_import_that_points_up_is_found(path, source):
  assert len(complaints(path, source)) == 1


@pytest.mark.parametrize(
  ('path', 'source'),
  [
    ('lm/training/loop.py', 'from lm import models\nimport lm.data.sources'),
    ('lm/training/checkpoints.py', 'import orbax.checkpoint as ocp'),
    ('lm/training/loop.py', 'from lm.parallel import mesh\nmesh.make_mesh()'),
    ('lm/objectives/masked_lm.py', 'from lm.data import randomness'),
    ('lm/data/tfds_text.py', 'import tensorflow_datasets as tfds'),
    ('lm/interop/harness.py', 'import lm_eval\nfrom lm.scoring import texts'),
    ('experiments/train.py', 'from lm.training import loop'),
    ('configs/gpt.py', 'from ml_collections import config_dict'),
  ],
)
def test_an_import_that_points_down_is_fine(path, source):
  assert complaints(path, source) == []
