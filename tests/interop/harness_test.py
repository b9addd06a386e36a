"""lm-evaluation-harness gets from our models what others would give it."""

import json
import math
import sys
from typing import Any

import numpy as np
import pytest

import lm
from experiments import harness as harness_command
from lm.generation import text
from lm.pretrained import Pretrained
from lm.scoring import choices, texts
from lm.types import UserError
from tests import tiny_run
from tests.scoring.naive import log_probs, trained

pytestmark = pytest.mark.peers

WORDS = ('the', 'cat', 'man', 'mat', 'dog', 'manly', 'sat', 'ran', 'on', 'to')


def request(*arguments: Any) -> Any:
  """Returns what the harness hands over."""
  from lm_eval.api.instance import Instance

  return Instance('loglikelihood', {}, arguments, 0)


@pytest.fixture(scope='module')
def harness():
  pytest.importorskip(
    'lm_eval', reason="needs lm_eval: pip install -e '.[harness]'"
  )
  from lm.interop import harness

  return harness


def requests(count: int, seed: int = 0) -> list[Any]:
  """Some have no context, and some contexts are longer than the model."""
  rng = np.random.default_rng(seed)
  print(f'seed {seed}')
  found = []
  for number in range(count):
    words = rng.choice(WORDS, 40 if number % 9 == 8 else rng.integers(1, 9))
    cut = max(rng.integers(0, len(words)), len(words) - 4)
    context, rest = ' '.join(words[:cut]), ' '.join(words[cut:])
    found.append(request(context, ' ' + rest if cut else rest))
  return found


@pytest.fixture(scope='module')
def published(tmp_path_factory):
  """A GPT as we have it, and as transformers reads what we have written."""
  import transformers

  one = trained('gpt', embed_dim=8)
  directory = tmp_path_factory.mktemp('gpt2')
  lm.save_huggingface(Pretrained(*one, config={}), directory)
  theirs = transformers.GPT2LMHeadModel.from_pretrained(directory)
  return one, theirs.eval()


def of_transformers(theirs, tokens: list[int]) -> Any:
  import torch

  with torch.no_grad():
    logits = theirs(torch.tensor([tokens])).logits[0]
  return torch.log_softmax(logits.double(), -1).numpy()


def test_its_log_likelihoods_are_ours_and_those_of_transformers(
  harness, published
):
  one, theirs = published
  asked = requests(50)
  answers = harness.Harness(*one).loglikelihood(asked)
  ours = texts.continuation_scores(
    *one,
    *zip(*(each.args for each in asked)),
    'left_to_right',
    too_long='cut',
  )
  assert sum(not each.args[0] for each in asked) > 3
  lengths = []
  for (log_prob, greedy), each, own in zip(answers, asked, ours.log_probs):
    assert log_prob == pytest.approx(own, abs=1e-4)
    # As the harness cuts and conditions for a model of transformers.
    context, rest = each.args
    whole = one.tokenizer.encode(context + rest).tolist()
    before = one.tokenizer.encode(context).tolist() or [one.tokenizer.eos_id]
    rest = whole[len(before) :] if context else whole
    lengths.append(len(before + rest))
    tokens = (before + rest)[-one.model.config.max_len - 1 :]
    scores = of_transformers(theirs, tokens[:-1])[-len(rest) :]
    expected = scores[np.arange(len(rest)), rest].sum()
    assert log_prob == pytest.approx(expected, abs=1e-4)
    assert greedy == bool((scores.argmax(-1) == rest).all())
  assert max(lengths) > one.model.config.max_len + 1


def test_a_whole_text_is_scored_in_the_harness_own_windows(harness, published):
  one, theirs = published
  rng = np.random.default_rng(0)
  documents = [' '.join(rng.choice(WORDS, size)) for size in (3, 90)]
  asked = [request(document) for document in (*documents, '')]
  answers = harness.Harness(*one).loglikelihood_rolling(asked)
  from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

  for answer, document in zip(answers, documents):
    expected = 0.0
    for window in get_rolling_token_windows(
      token_list=one.tokenizer.encode(document).tolist(),
      prefix_token=one.tokenizer.eos_id,
      max_seq_len=one.model.config.max_len,
      context_len=1,
    ):
      context, rest = make_disjoint_window(window)
      scores = of_transformers(theirs, (context + rest)[:-1])[-len(rest) :]
      expected += scores[np.arange(len(rest)), rest].sum()
    assert answer == pytest.approx(expected, abs=1e-3)
  assert answers[2] == 0.0


def test_what_it_writes_is_what_generate_writes(harness):
  one = trained('gpt')
  told = {'until': [' '], 'max_gen_toks': 5, 'do_sample': False}
  contexts = ['the cat', 'A', 'the man sat on']
  asked = [request(context, told) for context in contexts]
  asked.append(request('A', {'until': [], 'max_gen_toks': 2}))
  answers = harness.Harness(*one).generate_until(asked)
  for context, answer in zip(contexts, answers):
    *_, [reply] = text.stream(*one, [context], stop=[' '], max_new_tokens=5)
    assert answer == reply.text and ' ' not in answer
  *_, [reply] = text.stream(*one, ['A'], max_new_tokens=2)
  assert answers[3] == reply.text


@pytest.mark.parametrize('form', ['spans', 'target'])
def test_an_encoder_with_a_decoder_answers(harness, form):
  one = trained('t5')
  asked = [
    request('The cat', 'sat'),
    request('', 'sat'),
    request('a', ''),
  ]
  found = harness.Harness(*one, form=form)
  answers = found.loglikelihood(asked)
  if form == 'target':
    for (context, rest), (log_prob, _) in zip(
      (each.args for each in asked[:2]), answers
    ):
      tokens = one.tokenizer.encode(rest).tolist()
      source = [*one.tokenizer.encode(context), one.tokenizer.eos_id]
      read = [one.tokenizer.pad_id, *tokens[:-1]]
      scores = log_probs(one, read, source)
      expected = scores[np.arange(len(tokens)), tokens].sum()
      assert log_prob == pytest.approx(expected, abs=1e-4)
    assert found.loglikelihood_rolling([request('sat')])[0] == pytest.approx(
      answers[1][0], abs=1e-4
    )
  else:
    assert answers[0][0] < 0 and answers[1][0] < 0
    with pytest.raises(UserError, match='no perplexity'):
      found.loglikelihood_rolling([request('sat')])
  assert answers[2] == (0.0, True)
  [reply] = found.generate_until([request('The', {'max_gen_toks': 3})])
  *_, [own] = text.stream(*one, ['The'], max_new_tokens=3)
  assert reply == own.text


def test_a_model_that_fills_masks_has_to_be_told(harness):
  one = trained('bert')
  with pytest.raises(UserError, match='add form=pll or form=pll_word_l2r'):
    harness.Harness(*one)
  found = harness.Harness(*one, form='pll')
  [(log_prob, _)] = found.loglikelihood([request('The cat', ' sat')])
  own = texts.continuation_scores(*one, ['The cat'], [' sat'], 'pll')
  assert log_prob == pytest.approx(own.log_probs[0], abs=1e-6)
  with pytest.raises(UserError, match='no perplexity'):
    found.loglikelihood_rolling([request('The')])
  with pytest.raises(UserError, match='writes no text'):
    found.generate_until([request('The', {})])


def test_what_a_task_may_not_say_is_refused(harness):
  found = harness.Harness(*trained('gpt'))
  with pytest.raises(UserError, match='sets num_beams in'):
    found.generate_until([request('a', {'num_beams': 2})])


TASK = """
task: animals
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{context}}"
doc_to_choice: "{{choices}}"
doc_to_target: answer
metric_list: [{metric: acc}]
"""


@pytest.fixture
def offline_task(tmp_path, monkeypatch):
  """A task as its author writes it, and where the harness may keep it."""
  monkeypatch.setenv('HF_HOME', str(tmp_path / 'huggingface'))
  monkeypatch.setenv('HF_DATASETS_CACHE', str(tmp_path / 'datasets'))
  rng = np.random.default_rng(3)
  rows = [
    {
      'context': ' '.join(rng.choice(WORDS, 3)),
      'choices': rng.choice(WORDS, 3, replace=False).tolist(),
      'answer': int(rng.integers(3)),
    }
    for _ in range(12)
  ]
  data = tmp_path / 'animals.jsonl'
  data.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  folder = tmp_path / 'tasks'
  folder.mkdir()
  (folder / 'animals.yaml').write_text(TASK.replace('FILE', str(data)))
  return folder, data


@pytest.mark.slow
@pytest.mark.filterwarnings('default')  # The harness's own libraries warn.
def test_its_command_scores_a_checkpoint_offline(
  harness, offline_task, tmp_path, monkeypatch
):
  folder, data = offline_task
  tiny_run.write_family(tmp_path / 'run', 'gpt')
  arguments = [
    f'--model_args=workdir={tmp_path / "run"},batch_tokens=512',
    f'--include_path={folder}',
    f'--output_path={tmp_path / "results"}',
  ]
  monkeypatch.setattr(
    sys, 'argv', ['lm_eval', '--model=lm', *arguments, '--tasks=animals']
  )
  assert harness_command.main() == 0
  (path,) = (tmp_path / 'results').rglob('results*.json')
  found = json.loads(path.read_text())['results']['animals']['acc,none']
  run = lm.load(tmp_path / 'run')
  own = choices.judge(
    run.model,
    run.params,
    run.tokenizer,
    choices.read_choices(str(data)),
    'left_to_right',
    too_long='cut',
  )
  assert 0 < own['accuracy'] < 1
  assert math.isclose(found, own['accuracy'])


@pytest.mark.parametrize(
  'given, message',
  [
    ('form=pll', 'has no workdir'),
    ('workdir=RUN,batch=3', 'has batch, and it is to be workdir=DIR'),
    ('workdir=RUN,form=pll', 'Set it to left_to_right'),
    ('workdir=nowhere', 'nowhere'),
  ],
)
def test_what_cannot_be_loaded_is_refused(harness, tmp_path, given, message):
  from lm_eval.api.registry import get_model

  tiny_run.write_family(tmp_path / 'run', 'gpt')
  harness.register(lm.load)
  given = given.replace('RUN', str(tmp_path / 'run'))
  theirs = {'batch_size': 1, 'device': 'cuda'}
  with pytest.raises(UserError, match=message):
    get_model('lm').create_from_arg_string(given, theirs)


def test_a_run_is_asked_what_it_was_trained_for(harness, tmp_path):
  from lm_eval.api.registry import get_model

  tiny_run.write_family(tmp_path, 't5', {'name': 'prefix_lm'})
  harness.register(lm.load)
  made = get_model('lm').create_from_arg_string(f'workdir={tmp_path}')
  assert made.form == 'target'


def test_a_mistake_is_one_message(harness, monkeypatch, capsys):
  def main(load):
    raise UserError('No such run.')

  monkeypatch.setattr(harness, 'main', main)
  assert harness_command.main() == 2
  assert capsys.readouterr().err == 'No such run.\n'


def test_without_the_harness_it_says_what_to_install(monkeypatch, capsys):
  for name in [*sys.modules]:
    if name.startswith(('lm_eval.', 'lm.interop.harness')):
      monkeypatch.delitem(sys.modules, name)
  monkeypatch.setitem(sys.modules, 'lm_eval', None)
  monkeypatch.delattr(lm.interop, 'harness', raising=False)
  assert harness_command.main() == 2
  assert "pip install -e '.[harness]'" in capsys.readouterr().err
