"""Translation, scored by BLEU and chrF as sacrebleu computes them.

An encoder reads the source and a decoder writes the translation (Vaswani et al.
2017); a decoder alone has both in one row.
"""

from collections.abc import Callable, Sequence

from absl import logging

from lm.tasks import metrics, written
from lm.tasks.task import (
  Prediction,
  Reader,
  Record,
  Scores,
  Task,
  check_objective,
)


def translation(
  reader: Reader,
  train: Callable[[], Sequence[Record]],
  *,
  target_language: str,
  template: str = '{source}',
  beams: int = 4,
  eval_beams: int = 1,
  length_penalty: float = 0.6,
  max_new_tokens: int = 0,
  beyond_source: int = 50,
) -> Task:
  """Returns the task; beams and lengths as Vaswani et al. (2017, 6.1) have them.

  Args:
    reader: What it is made for.
    train: Gives the records for training.
    target_language: Such as de or zh, which decides what sacrebleu takes for a
      word.
    template: What is read, with {source}; a T5 was trained with 'translate
      English to German: {source}'.
    beams: How many texts a search follows; 1: the likeliest token always.
    eval_beams: The same, at the evaluations of a run that still trains.
    length_penalty: Of beams: the more, the longer the texts.
    max_new_tokens: The most tokens of a translation; 0: config.data.target_length.
    beyond_source: How many more tokens than its source a translation has at
      most.
  """
  del train
  check_objective('translation', reader.objective, 'answers')
  # It depends on the language and on sacrebleu's version, and on no text.
  signature = metrics.translation(['a'], ['a'], target_language).signature
  logging.info('Translations are scored by sacrebleu: %s', signature)

  def score(
    rows: Sequence[Record], predictions: Sequence[Prediction]
  ) -> Scores:
    made = [prediction['prediction'] for prediction in predictions]
    references = [row['target'] for row in rows]
    return metrics.translation(made, references, target_language).values

  return Task(
    encode=written.encoder(reader, template, 'of translations'),
    predict=written.predictions,
    score=score,
    writing=written.writing(
      reader,
      max_new_tokens,
      beams,
      eval_beams,
      length_penalty,
      beyond_source,
    ),
    notes={'sacrebleu': signature},
  )
