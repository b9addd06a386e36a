"""What is written is learned, scored, predicted and talked with, as users do."""

import io
import json
import pathlib

import pytest
import sacrebleu

from experiments import chat, config_file, evaluate, predict
from lm.generation import beam
from lm.training import assembly, loop, run_log
from lm.training.sections import SECTIONS
from lm.types import UserError

CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'
TINY = {
  'batch_size': 8,
  'model.num_layers': 1,
  'model.max_len': 48,
  'data.length': 24,
  'data.target_length': 24,
  'data.buckets': (24,),
  'eval.every': 0,
  'eval.batch_size': 8,
  'log.boards': (),
}
PHRASES = [
  ('the dog', 'der Hund'),
  ('a red dog', 'ein rote Hund'),
  ('the big dog', 'der grosse Hund'),
  ('a big red dog', 'ein grosse rote Hund'),
  ('the big red dog', 'der grosse rote Hund'),
  ('a dog', 'ein Hund'),
]


def configure(name, cache, **overrides):
  named = {key.replace('__', '.'): value for key, value in overrides.items()}
  everything = TINY | {'data.cache': str(cache)} | named
  path = f'{CONFIGS}/{name}:debug'
  return config_file.load(path, everything, SECTIONS).to_dict()


def last_line(capsys):
  return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.slow
def test_a_translation_is_learned_and_scored_as_it_is_predicted(
  tmp_path, capsys, monkeypatch
):
  data, workdir = tmp_path / 'pairs.tsv', tmp_path / 'run'
  data.write_text(''.join(f'{s}\t{t}\n' for s, t in PHRASES))
  searches = []
  search = beam.search
  monkeypatch.setattr(
    beam, 'search', lambda *a, **k: searches.append(k) or search(*a, **k)
  )
  where = {f'data__{s}': str(data) for s in ('train', 'validation', 'test')}
  config = configure(
    'translation.py',
    tmp_path,
    num_steps=200,
    optimizer__learning_rate=5e-3,
    optimizer__warmup_steps=20,
    model__residual_dropout=0.0,
    model__embedding_dropout=0.0,
    task__beams=3,
    **where,
  )
  scores = loop.train(config, workdir)
  assert scores['bleu'] > 90 and scores['loss'] < 0.5
  assert not searches  # While it is trained, the likeliest token will do.
  [line] = [
    line
    for line in run_log.read(workdir / 'metrics.jsonl')
    if line['split'] == 'eval'
  ]
  assert line['perplexity'] == pytest.approx(2.718281828 ** line['loss'])
  environment = json.loads((workdir / 'environment.json').read_text())
  assert 'tok:13a' in environment['sacrebleu']

  evaluate.main(str(workdir), split='test')
  in_the_end = last_line(capsys)
  assert {search['beams'] for search in searches} == {3}
  assert {search['length_penalty'] for search in searches} == {0.6}
  predict.main(str(workdir), input=str(data))
  lines = capsys.readouterr().out.splitlines()
  made = [json.loads(line)['prediction'] for line in lines]
  references = [target for _, target in PHRASES]
  bleu = sacrebleu.corpus_bleu(made, [references])
  assert in_the_end['bleu'] == pytest.approx(bleu.score)
  predict.main(str(workdir), text=['the big dog'])
  assert last_line(capsys)['prediction'] == 'der grosse Hund'


@pytest.mark.slow
@pytest.mark.parametrize('family', ['', ',t5'])
def test_dialogues_are_learned_and_talked_with(
  tmp_path, capsys, monkeypatch, family
):
  data, workdir = tmp_path / 'talk.jsonl', tmp_path / 'run'
  talks = [['hi', 'yes'], ['no', 'no', 'ok', 'yes']] * 4
  data.write_text(''.join(json.dumps({'turns': t}) + '\n' for t in talks))
  config = config_file.load(
    f'{CONFIGS}/dialogue.py:debug{family}',
    TINY
    | {
      'data.cache': str(tmp_path),
      'data.train': str(data),
      'data.validation': str(data),
      'data.distinct': False,
      'data.tokenizer': 'bytes',
      'data.vocab_size': None,
      'num_steps': 60,
      'optimizer.learning_rate': 1e-2,
      'task.speakers': ('Q:', 'A:'),
    },
    SECTIONS,
  ).to_dict()
  scores = loop.train(config, workdir)
  assert scores['loss'] < 0.5 < scores['unigram_loss']
  assert scores['distinct_1'] == pytest.approx(2 / 12)  # yes and no.
  monkeypatch.setattr('sys.stdin', io.StringIO('hi\n/reset\nno\n'))
  chat.main(str(workdir), temperature=0.0)
  assert capsys.readouterr().out == 'yes\nno\n'


def test_an_answer_that_the_model_has_no_place_for_is_refused(tmp_path):
  data = tmp_path / 'talk.jsonl'
  data.write_text(json.dumps({'turns': ['hi', 'yes']}) + '\n')
  config = configure(
    'dialogue.py',
    tmp_path,
    data__train=str(data),
    data__validation=str(data),
    data__tokenizer='bytes',
    data__vocab_size=None,
    data__target_length=25,
  )
  with pytest.raises(UserError, match=r'takes 49 positions.*which has 48'):
    assembly.assemble(config)
