"""A dialogue by the lines of the input, whatever they come from."""

import io
import json
import sys

import pytest

from experiments import chat
from lm.generation import text
from lm.types import UserError
from tests import tiny_run

MARKS = ('A: ', 'B: ')


def write(directory, name='gpt', length=20, **task):
  """Writes a small random model, as if dialogues had been its task."""
  tiny_run.write_family(directory, name, {'name': 'answers'}, max_len=48)
  task = {'name': 'dialogue', 'speakers': MARKS, 'context_turns': 0} | task
  path = directory / 'config.json'
  sections = {'task': task, 'data': {'length': length, 'target_length': 4}}
  path.write_text(json.dumps(json.loads(path.read_text()) | sections))
  return directory


def write_plain(directory):
  """Writes a small random GPT that has gone on from texts."""
  tiny_run.write_family(directory, 'gpt', {'name': 'causal_lm'}, max_len=48)
  return directory


@pytest.fixture
def typed(monkeypatch, capsys):
  """Returns what is printed when lines are typed."""

  def run(workdir, *lines, **options):
    monkeypatch.setattr('sys.stdin', io.StringIO('\n'.join(lines)))
    chat.main(str(workdir), **options)
    return capsys.readouterr().out

  return run


@pytest.mark.parametrize('name', ['gpt', 't5'])
def test_each_line_is_answered_and_a_seed_repeats_it_all(tmp_path, typed, name):
  write(tmp_path, name)
  lines = ['the cat', '', 'a dog', 'on the mat']
  once = typed(tmp_path, *lines, seed=3)
  assert typed(tmp_path, *lines, seed=3) == once
  assert len(once.splitlines()) >= 3
  assert 'the cat' not in once
  assert typed(tmp_path) == ''
  assert typed(tmp_path, 'the cat', '/quit', 'a dog', seed=3) == typed(
    tmp_path, 'the cat', seed=3
  )


class Spoken:
  """A model that answers what it is told to, and remembers what it was asked."""

  def __init__(self, replies):
    self._replies, self.asked, self.options = iter(replies), [], []

  def stream(self, model, params, tokenizer, prompts, **options):
    del model, params, tokenizer
    self.asked += prompts
    self.options.append(options)
    whole = next(self._replies)
    for end in range(1, len(whole) + 1):
      why = 'stop' if end == len(whole) else None
      yield [text.Reply(whole[:end], end, why)]
    if not whole:
      yield [text.Reply('', 1, 'stop')]


@pytest.fixture
def spoken(monkeypatch):
  def of(*replies):
    model = Spoken(replies)
    monkeypatch.setattr(chat.text, 'stream', model.stream)
    return model

  return of


def test_a_dialogue_is_kept_until_it_is_reset(tmp_path, typed, spoken):
  write(tmp_path)
  model = spoken(' x ', 'y', 'z', 'w')
  out = typed(tmp_path, 'h', '  i ', '/wrong', '', 'j', '/reset', 'k')
  assert out == 'x\ny\nz\nw\n'
  # 19 bytes and the end: the oldest turn gives way.
  assert model.asked == [
    'A: h\nB:',
    'A: h\nB: x\nA: i\nB:',
    'A: i\nB: y\nA: j\nB:',
    'A: k\nB:',
  ]


def test_no_more_turns_are_read_than_in_training(tmp_path, typed, spoken):
  model = spoken('x', 'y', 'z')
  typed(write(tmp_path, context_turns=2), 'h', 'i', 'j')
  assert model.asked[1:] == ['B: x\nA: i\nB:', 'B: y\nA: j\nB:']


def test_what_is_not_answered_is_not_kept(tmp_path, typed, spoken):
  model = spoken('x', '', 'z')
  assert typed(write(tmp_path), 'h', 'i', 'j') == 'x\n\nz\n'
  assert model.asked[-1] == 'A: h\nB: x\nA: j\nB:'


def test_the_model_answers_as_it_was_trained(tmp_path, typed, spoken):
  model = spoken('x', 'y')
  workdir = write(tmp_path)
  typed(workdir, 'h', 'i', seed=5)
  first, second = model.options
  assert first['prompt_form'].ends and first['stop'] == ()
  assert first['max_new_tokens'] == 4
  assert (first['seed'], second['seed']) == (5, 6)


def test_a_plain_gpt_stops_where_another_turn_begins(tmp_path, typed, spoken):
  model = spoken('x', 'y')
  typed(write_plain(tmp_path), 'h')
  typed(tmp_path, 'h', max_new_tokens=2, speakers=MARKS)
  default, own = model.options
  assert model.asked == ['User: h\nAssistant:', 'A: h\nB:']
  assert default['stop'] == ('\nUser:', '\nAssistant:')
  assert own['stop'] == ('\nA:', '\nB:')
  assert not own['prompt_form'].ends
  assert (default['max_new_tokens'], own['max_new_tokens']) == (24, 2)


def test_a_plain_gpt_reads_what_leaves_room_for_its_reply(
  tmp_path, typed, spoken
):
  model = spoken('x')
  line = 'abcdefghijklmnopqrstuvwxyz' * 2
  typed(write_plain(tmp_path), line, max_new_tokens=18)
  end = '\nAssistant:'
  assert model.asked == [line[-(48 - 18 - len(end)) :] + end]


def test_at_a_terminal_the_marks_are_shown(
  tmp_path, spoken, capsys, monkeypatch
):
  class Terminal(io.StringIO):
    def isatty(self):
      return True

  spoken('x')
  monkeypatch.setattr(sys, 'stdin', Terminal('h\n'))
  chat.main(str(write(tmp_path)))
  assert capsys.readouterr().out == 'A: B: x\nA: '


def test_what_cannot_talk_is_refused(tmp_path):
  tiny_run.write_family(tmp_path / 'bert', 'bert')
  with pytest.raises(UserError, match='fills masks'):
    chat.main(str(tmp_path / 'bert'))
  plain = write_plain(tmp_path / 'gpt')
  with pytest.raises(UserError, match='Set --speakers'):
    chat.main(str(plain), speakers=['A: '])
  (plain / 'tokenizer').rename(plain / 'elsewhere')
  with pytest.raises(UserError, match='has no tokenizer'):
    chat.main(str(plain))
