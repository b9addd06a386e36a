"""What others trained is scored on any text."""

import json
import math

import pytest

from experiments import evaluate
from lm.types import UserError
from tests import tiny_run


@pytest.mark.parametrize('family', tiny_run.FAMILIES)
def test_a_model_of_others_is_asked_what_it_was_made_for(
  family, tmp_path, capsys, monkeypatch
):
  monkeypatch.setenv('LM_CACHE', str(tmp_path / 'cache'))
  tiny_run.write_family(tmp_path / 'model', family)
  text = tmp_path / 'text.txt'
  text.write_text('. '.join(tiny_run.WORDS))
  evaluate.main(str(tmp_path / 'model'), data=str(text))
  scores = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert math.isfinite(scores['loss']) and scores['loss'] > 0
  assert ('bits_per_byte' in scores) == (family == 'gpt')
  with pytest.raises(UserError, match='Give --data=FILE'):
    evaluate.main(str(tmp_path / 'model'))


def test_of_json_lines_the_texts_are_scored_and_not_the_json(
  tmp_path, capsys, monkeypatch
):
  monkeypatch.setenv('LM_CACHE', str(tmp_path / 'cache'))
  tiny_run.write_family(tmp_path / 'model', 'gpt')
  texts = ['. '.join(tiny_run.WORDS), '. '.join(reversed(tiny_run.WORDS))]
  (tmp_path / 'a.txt').write_text('\n\n'.join(texts))
  lines = [json.dumps({'text': text, 'id': 7}) for text in texts]
  (tmp_path / 'a.jsonl').write_text('\n'.join(lines))
  scores = []
  for name in ('a.txt', 'a.jsonl'):
    evaluate.main(str(tmp_path / 'model'), data=str(tmp_path / name))
    scores.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
  assert scores[0]['loss'] == pytest.approx(scores[1]['loss'])
