"""What was trained is found again."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lm
from lm.types import UserError
from tests import tiny_run


def test_a_run_is_loaded_with_all_that_belongs_to_it(tmp_path):
  tiny_run.write(tmp_path, steps=(1, 2))
  newest, first = lm.load(tmp_path), lm.load(str(tmp_path), step=1)
  jax.tree.map(
    np.testing.assert_array_equal, newest.params, tiny_run.params_of_step(2)
  )
  jax.tree.map(
    np.testing.assert_array_equal, first.params, tiny_run.params_of_step(1)
  )
  assert newest.config['model'] == tiny_run.MODEL
  tokens = newest.tokenizer.encode(tiny_run.TEXT)[None, :12]
  logits = jax.eval_shape(
    newest.model.apply, {'params': newest.params}, tokens=jnp.asarray(tokens)
  )
  assert logits.shape == (1, 12, 257)


def test_where_parameters_are_averaged_the_average_is_loaded(tmp_path):
  tiny_run.write(tmp_path, ema_decay=0.9)
  jax.tree.map(
    np.testing.assert_array_equal,
    lm.load(tmp_path).params,
    tiny_run.params_of_step(101),
  )


def test_a_run_without_a_tokenizer_has_none(tmp_path):
  tiny_run.write(tmp_path)
  (tmp_path / 'tokenizer').rename(tmp_path / 'elsewhere')
  assert lm.load(tmp_path).tokenizer is None


@pytest.mark.parametrize(
  ('config', 'message'),
  [
    (None, 'has no config.json'),
    ('{"seed": 0}', "with a section 'model'"),
    ('{"model_type": "gpt2"}', 'neither model.safetensors nor'),
    ('{"model_type": "llama"}', "type 'llama', and only gpt2, bert, roberta"),
  ],
)
def test_what_is_no_workdir_is_refused(tmp_path, config, message):
  if config is not None:
    (tmp_path / 'config.json').write_text(config)
  with pytest.raises(UserError, match=message):
    lm.load(tmp_path)


def test_of_several_seeds_one_must_be_named(tmp_path):
  for seed in (3, 4):
    tiny_run.write(tmp_path / f'seed-{seed}')
  with pytest.raises(UserError, match=r'of 2 seeds.* such as .*/seed-3\.'):
    lm.load(tmp_path)
  assert lm.load(tmp_path / 'seed-4').step == 1


def test_a_step_that_was_not_saved_is_refused(tmp_path):
  tiny_run.write(tmp_path)
  with pytest.raises(UserError, match='step 7'):
    lm.load(tmp_path, step=7)


@pytest.mark.processes
def test_importing_lm_imports_no_jax():
  program = "import lm, sys; print('jax' in sys.modules)"
  done = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True, check=True
  )
  assert done.stdout == 'False\n'


def test_what_lm_does_not_have_is_said():
  with pytest.raises(AttributeError, match="no attribute 'lode'"):
    _ = lm.lode
