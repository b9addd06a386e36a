"""The benchmark of a training step runs, and compares the same work."""

import json

import jax
import numpy as np
import pytest

from benchmarks import cases, contender, train_step

pytestmark = [pytest.mark.peers, pytest.mark.processes, pytest.mark.slow]


def test_ours_and_theirs_take_turns_and_are_kept(tmp_path, capsys):
  out = tmp_path / 'results.json'
  out.write_text(json.dumps({'before': 1}))
  train_step.main(
    only=('bert_tiny',),
    dropout=(0.1,),
    ways=('ours', 'eager', 'product'),
    turns=3,
    out=str(out),
  )
  measured = json.loads(capsys.readouterr().out.splitlines()[-1])
  [row] = measured.values()
  assert set(row['milliseconds']) == {'ours', 'eager', 'product'}
  assert all(0 < value < 60_000 for value in row['milliseconds'].values())
  ratio = row['ours_over_eager']
  assert ratio['low'] <= ratio['median'] <= ratio['high']
  assert 0 < row['share_of_it'] < 1
  assert json.loads(out.read_text()) == {'before': 1, **measured}


@pytest.mark.parametrize('name', ['gpt_nano', 'bert_mini', 't5_small'])
def test_the_peer_has_as_many_parameters(name):
  case = cases.CASES[name]
  model, objective = cases.build(case, 0.0, 'float32')
  batch = cases.batch(case, objective, model.config.vocab_size)
  shapes = jax.eval_shape(model.init, jax.random.key(0), **batch.inputs)
  ours = sum(np.prod(x.shape) for x in jax.tree.leaves(shapes))
  theirs, _ = contender.peer_model(case, 0.0)
  assert sum(param.numel() for param in theirs.parameters()) == ours


def test_only_the_masked_positions_of_ours_are_scored_and_all_of_theirs():
  case = cases.CASES['bert_mini']
  model, objective = cases.build(case, 0.0, 'float32')
  batch = cases.batch(case, objective, model.config.vocab_size)
  assert batch.inputs['predict_at'].shape == (16, 19)  # 15% of 128, rounded.
  _, told = contender.peer_model(case, 0.0)
  asked = (told['labels'] != -100).sum(1).tolist()
  assert asked == batch.weights['tokens'].sum(1).tolist() == [19] * 16
