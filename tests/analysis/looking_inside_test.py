"""What docs/looking_inside.md shows can be done as it says."""

import pathlib
import re

import jax
import pytest

from lm import models, pretrained
from lm.data import tokenizers
from tests.models import tiny

PAGE = pathlib.Path(__file__).parents[2] / 'docs' / 'looking_inside.md'
TEXT = 'the cat and the dog sat on the mat. ' * 8


@pytest.mark.slow
def test_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch):
  tokenizer = tokenizers.train('bytes', [TEXT])
  section = {'name': 'gpt', 'preset': 'gpt2', **tiny.SIZES}
  section |= {'vocab_size': tokenizer.vocab_size, 'max_len': 40}
  model = models.build(**section)
  inputs = {'tokens': jax.numpy.asarray(tiny.tokens())}
  params = tiny.params_for(model, **inputs)
  monkeypatch.chdir(tmp_path)
  pretrained.save(
    pretrained.Pretrained(model, params, tokenizer, {'model': section}),
    'runs/demo',
  )
  blocks = re.findall(r'```python\n(.*?)```', PAGE.read_text('utf-8'), re.S)
  assert len(blocks) == 9
  names = {}
  for block in blocks:
    exec(compile(block, str(PAGE), 'exec'), names)
  length = names['tokens'].shape[1]
  assert names['seen'].shape == (3, 1, length, tokenizer.vocab_size)
  assert names['every'].shape == (2, length, tokenizer.vocab_size)
  assert abs(float(names['found'].gap[0])) < 0.01
  assert '</html>' in (tmp_path / 'losses.html').read_text('utf-8')
