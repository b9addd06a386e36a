"""Translation, scored by BLEU and chrF as computed by sacrebleu.

An encoder reads the source and a decoder writes the translation (Vaswani et al.
2017); a decoder-only model has both in one row.
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
  """Returns the task, with the beams and lengths of Vaswani et al. (2017, 6.1).

  Args:
    reader: How the model reads.
    train: Returns the training records; not used.
    target_language: Such as de or zh; decides how sacrebleu splits words.
    template: The text to read, with {source}; a T5 was trained with 'translate
      English to German: {source}'.
    beams: Beam width; 1 means greedy decoding.
    eval_beams: Beam width for the evaluations during training.
    length_penalty: For beam search: the higher, the longer the texts.
    max_new_tokens: The most tokens of a translation; 0 means
      config.data.target_length.
    beyond_source: The most tokens of a translation beyond its source's.
  """
  del train
  check_objective('translation', reader.objective, 'answers')
  # It depends on the language and sacrebleu's version, not on the texts.
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
