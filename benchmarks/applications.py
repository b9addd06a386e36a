"""Reproduces the reference results of the applications, with several seeds.

  python -m benchmarks.applications --data=DIR --only=sst2 --only=resume

DIR has the files of `REFERENCES`, in folders of these names. Results are merged
into benchmarks/results/applications.json, unless with --steps (a trial), and
new ones are the last line of stdout. Each takes minutes to an hour on 2 cores;
runs stay in --workdir, where the same command resumes them.

Those whose names end in `_pretrained` start from a BERT of WikiText-2, which is
trained first; those in `_scratch` have only its sizes and tokenizer. `newwiki`
starts from a reader trained on cloze questions made from that text.
"""

import json
import pathlib
import resource
import subprocess
import sys
import time
import types
from collections.abc import Mapping
from typing import Any, NamedTuple

from benchmarks import cloze_questions, wikitext_models
from experiments import command
from lm.analysis import curves
from lm.records import reading
from lm.tasks import seeds_table, sliding_window, squad
from lm.training import evaluation, run_config
from lm.training.assembly import assemble
from lm.types import UserError

RESULTS = pathlib.Path(__file__).parent / 'results' / 'applications.json'
DROPOUT = (
  'model.embedding_dropout',
  'model.attention_dropout',
  'model.residual_dropout',
)
# A small reader does not learn from a few thousand questions to find the words
# that two texts share.
MATCHES = {'task.mark_matches': True, 'model.num_token_types': 3}
NONE = types.MappingProxyType({})


class Reference(NamedTuple):
  """A run whose scores are saved.

  Attributes:
    config: File and variant.
    files: Fields of `config.data`, as paths in the folder of data.
    metric: The metric that counts.
    goal: The required mean; None means it is only reported.
    settings: Further fields of the config.
    split: The split that is scored.
    fitted: Train on this many records and score the same ones; 0 means train on
      all, and score others.
    origin: What it takes from the BERT of WikiText-2: 'parameters', which
      includes sizes and tokenizer, or 'tokenizer'; 'clozes' to start from a
      reader of these; '' to train from scratch.
  """

  config: str
  files: Mapping[str, str]
  metric: str
  goal: float | None = None
  settings: Mapping[str, Any] = NONE
  split: str = 'test'
  fitted: int = 0
  origin: str = ''


SST2 = {'train': 'sst2/train.tsv', 'test': 'sst2/dev.tsv'}
RESUME = {
  'train': 'resume_ner_zh/train.char.bmes',
  'validation': 'resume_ner_zh/dev.char.bmes',
  'test': 'resume_ner_zh/test.char.bmes',
}
MULTI30K = {
  'train': 'multi30k_en_de/train.{en,de}.gz',
  'validation': 'multi30k_en_de/val.{en,de}.gz',
  'test': 'multi30k_en_de/test_2016_flickr.{en,de}.gz',
}
WNUT17 = {
  'train': 'wnut17/wnut17train.conll',
  'validation': 'wnut17/emerging.dev.conll',
  'test': 'wnut17/emerging.test.annotated',
}
NEWWIKI = {'train': 'squadshifts_newwiki/new_wiki_v1.0.json'}
DISTINCT = {'data.distinct': True}
SST2_SETTINGS = {**DISTINCT, 'data.held_out': 0.03}
REFERENCES = {
  'sst2': Reference(
    'classification.py:sst2', SST2, 'accuracy', 0.78, SST2_SETTINGS
  ),
  'chnsenticorp': Reference(
    'classification.py:chnsenticorp',
    {
      'train': 'chnsenticorp/train.tsv',
      'test': 'chnsenticorp/dev.tsv',
    },
    'accuracy',
    0.80,
    DISTINCT,
  ),
  'resume': Reference('entities.py:resume', RESUME, 'f1', 0.88),
  'wnut17': Reference('entities.py:wnut17', WNUT17, 'f1'),
  'multi30k': Reference('translation.py:multi30k', MULTI30K, 'bleu', 25.0),
  'newwiki': Reference(
    'question_answering.py:newwiki',
    NEWWIKI,
    'f1',
    settings={
      'num_steps': 1500,
      'batch_size': 16,
      **MATCHES,
      'optimizer.warmup_steps': 100,
      'checkpoint.best': '',  # The last checkpoint, without choosing one.
    },
    split='validation',
    origin='clozes',
  ),
  'newwiki_fitted': Reference(
    'question_answering.py:newwiki',
    NEWWIKI,
    'exact_match',
    95.0,
    {
      'num_steps': 400,
      'model.num_layers': 2,
      'model.embed_dim': 128,
      'model.head_dim': 32,
      'model.mlp_dim': 256,
      **dict.fromkeys(DROPOUT, 0.0),
      'model.vocab_size': None,
      'data.vocab_size': 4096,
      'optimizer.learning_rate': 2e-3,
      'optimizer.warmup_steps': 60,
      'checkpoint.best': '',
    },
    'validation',
    fitted=200,
  ),
  'dailydialog': Reference(
    'dialogue.py:dailydialog',
    {
      'train': 'dailydialog/train.zip',
      'validation': 'dailydialog/validation.zip',
      'test': 'dailydialog/test.zip',
    },
    'loss',
    settings={
      **DISTINCT,
      'num_steps': 600,
      'eval.every': 200,
      'checkpoint.every': 200,
    },
  ),
  'sst2_pretrained': Reference(
    'classification.py:sst2',
    SST2,
    'accuracy',
    settings=SST2_SETTINGS,
    origin='parameters',
  ),
  'sst2_scratch': Reference(
    'classification.py:sst2',
    SST2,
    'accuracy',
    settings=SST2_SETTINGS,
    origin='tokenizer',
  ),
  'wnut17_pretrained': Reference(
    'entities.py:wnut17', WNUT17, 'f1', origin='parameters'
  ),
  'wnut17_scratch': Reference(
    'entities.py:wnut17', WNUT17, 'f1', origin='tokenizer'
  ),
}


def main(
  data: str,
  only: tuple[str, ...] = (),
  seeds: int = 3,
  workdir: str = 'runs/applications',
  steps: int = 0,
  out: str = str(RESULTS),
) -> None:
  """Trains the references, or some, and saves their scores.

  Args:
    data: The folder of the data.
    only: Names of `REFERENCES`; by default all.
    seeds: The number of runs of each.
    workdir: Where the runs are.
    steps: A trial of this many steps, whose results are not saved.
    out: The file that results are added to; '' for none.
  """
  for name in only:
    if name not in REFERENCES:
      raise UserError(
        f'There is no reference {name!r}. Give one of {", ".join(REFERENCES)}.'
      )
  measured = {}
  for name in only or REFERENCES:
    row = train(name, pathlib.Path(data), seeds, pathlib.Path(workdir), steps)
    measured[name] = row
    print(name, json.dumps(row['summary']), file=sys.stderr, flush=True)
    if out and not steps:
      keep(pathlib.Path(out), {name: row})
  command.report(measured)


def train(
  name: str, data: pathlib.Path, seeds: int, root: pathlib.Path, steps: int = 0
) -> dict[str, Any]:
  """Returns the results of a reference, trained or found in `root`."""
  reference = REFERENCES[name]
  workdir = root / name
  settings = dict(reference.settings)
  if steps:
    settings |= {'num_steps': steps, 'optimizer.warmup_steps': 1}
  places = files_of(reference, data, workdir)
  if reference.origin:
    places |= origin_of(reference, data, root, steps)
  argv = [f'--config=configs/{reference.config}', f'--workdir={workdir}']
  argv += [f'--config.{k}={v}' for k, v in {**places, **settings}.items()]
  argv += ['--config.log.boards=()', f'--config.seeds={seeds}']
  began, used = time.time(), seconds_of_children()
  subprocess.run(
    [sys.executable, '-m', 'experiments.train', *argv],
    check=True,
    stdout=subprocess.DEVNULL,
  )
  spent = {
    'minutes': (time.time() - began) / 60,
    'cpu_minutes': (seconds_of_children() - used) / 60,
  }
  found = scores_of(workdir, seeds)
  runs = [workdir / f'seed-{seed}' for seed in found['seeds']]
  summary = found['summary'].get(reference.split, {})
  return {
    'command': [argv[0], *(f'--config.{k}={v}' for k, v in settings.items())],
    'files': dict(reference.files),
    'fitted': reference.fitted,
    'origin': reference.origin,
    'metric': reference.metric,
    'goal': reference.goal,
    'split': reference.split,
    'seeds': found['seeds'],
    'steps': found['steps'],
    'rows': found['rows'].get(reference.split, []),
    'summary': summary.get(reference.metric, {}),
    'baseline': baseline(runs) if name == 'newwiki' else {},
    'curve': curves.summarize(
      [curves.read(run, metric=reference.metric) for run in runs]
    ),
    **add_up(spent, workdir / 'spent.json'),
    'environment': json.loads((runs[0] / 'environment.json').read_text()),
  }


def files_of(
  reference: Reference, data: pathlib.Path, workdir: pathlib.Path
) -> dict[str, Any]:
  """Returns the settings for where the records are."""
  found = {f'data.{k}': data / path for k, path in reference.files.items()}
  if not reference.fitted:
    return found
  rows = reading.read('questions', 'squad', str(found['data.train'])).rows
  workdir.mkdir(parents=True, exist_ok=True)
  some = workdir / 'some.jsonl'
  with some.open('w') as file:
    for row in rows[: reference.fitted]:
      fields = {key: row[key] for key in row if key != 'where'}
      print(json.dumps(fields, ensure_ascii=False), file=file)
  both = dict.fromkeys(('data.train', 'data.validation'), some)
  return {'data.format': 'jsonl', **both}


def origin_of(
  reference: Reference, data: pathlib.Path, root: pathlib.Path, steps: int
) -> dict[str, Any]:
  """Returns the settings for what it takes from a model, trained if needed."""
  archive = data / wikitext_models.FILES
  if reference.origin == 'clozes':
    return {'init_from': reader_of_clozes(archive, root, steps)}
  bert = wikitext_models.train('bert', archive, root / 'wikitext_bert', steps)
  if reference.origin == 'parameters':  # It was trained without dropout.
    return {'init_from': bert, **dict.fromkeys(DROPOUT, 0.1)}
  tokenizer = {'data.tokenizer': bert / 'tokenizer', 'data.vocab_size': None}
  return {'model.vocab_size': None, **tokenizer}


def reader_of_clozes(
  archive: pathlib.Path, root: pathlib.Path, steps: int
) -> pathlib.Path:
  """Returns the workdir of a reader trained on questions from plain text."""
  text = wikitext_models.text(archive, root / 'wikitext2')
  questions, workdir = root / 'clozes.jsonl', root / 'cloze_reader'
  if not questions.exists():
    cloze_questions.write([text / 'train.txt'], questions)
  settings = {
    'data.format': 'jsonl',
    'data.train': questions,
    'data.held_out': 0.02,
    'data.length': 160,
    'num_steps': steps or 3000,
    **MATCHES,
    # It learns to search for words twice as fast as a BERT of 4 layers of 256
    # with post-LN and learned positions.
    'model.embed_dim': 128,
    'model.mlp_dim': 512,
    'model.head_dim': 32,
    'model.norm_position': 'pre',
    'model.position': 'relative',
    'model.embedding_dropout': 0.0,
    'model.attention_dropout': 0.0,
    'model.vocab_size': None,
    'optimizer.learning_rate': 2e-3,
    'log.boards': '()',
  }
  if steps:
    settings['optimizer.warmup_steps'] = 1
  argv = ['--config=configs/question_answering.py:newwiki']
  argv += [f'--workdir={workdir}']
  argv += [f'--config.{key}={value}' for key, value in settings.items()]
  started = [sys.executable, '-m', 'experiments.train', *argv]
  subprocess.run(started, check=True, stdout=subprocess.DEVNULL)
  return workdir


def baseline(runs: list[pathlib.Path]) -> dict[str, Any]:
  """Returns the scores of the word-overlap baseline on each run's records."""
  rows = []
  for run in runs:
    config = run_config.read(run / 'config.json')
    config['data'] |= {'tokenizer': str(run / 'tokenizer')}
    parts = assemble(evaluation.alone(config), splits=['validation'])
    asked = parts.dataset.read('validation')
    answers = {
      row['id']: sliding_window.answer(row['question'], row['context'])
      for row in asked
    }
    rows.append(squad.score(config['task']['version'], asked, answers))
  return {'rows': rows, 'summary': seeds_table.aggregate(rows)}


def add_up(spent: Mapping[str, float], path: pathlib.Path) -> dict[str, float]:
  """Returns the total time of all calls that worked on the same runs."""
  before = json.loads(path.read_text()) if path.exists() else {}
  total = {key: spent[key] + before.get(key, 0.0) for key in spent}
  path.write_text(json.dumps(total) + '\n')
  return {key: round(minutes, 1) for key, minutes in total.items()}


def scores_of(workdir: pathlib.Path, seeds: int) -> dict[str, Any]:
  """Returns `seeds.json` of a workdir with several seeds."""
  if seeds < 2:
    raise UserError('A reference has a deviation: give --seeds=2 or more.')
  return json.loads((workdir / 'seeds.json').read_text())


def seconds_of_children() -> float:
  """Returns the processor time of finished child processes."""
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  return used.ru_utime + used.ru_stime


def keep(path: pathlib.Path, measured: dict[str, Any]) -> None:
  """Merges results into a file."""
  known = json.loads(path.read_text()) if path.exists() else {}
  path.write_text(json.dumps(known | measured, indent=2) + '\n')


if __name__ == '__main__':
  command.run(main)
