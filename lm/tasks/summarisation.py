"""Summaries, scored by ROUGE as rouge-score computes it."""

from collections.abc import Callable, Sequence
from typing import Literal

from lm.tasks import metrics, written
from lm.tasks.task import (
  Prediction,
  Reader,
  Record,
  Scores,
  Task,
  check_objective,
)


def summarisation(
  reader: Reader,
  train: Callable[[], Sequence[Record]],
  *,
  template: str = 'summarize: {source}',
  unit: Literal['words', 'characters'] = 'words',
  beams: int = 4,
  eval_beams: int = 1,
  length_penalty: float = 0.6,
  max_new_tokens: int = 0,
) -> Task:
  """Returns the task; template and beams as T5 has them (Raffel et al. 2020).

  Args:
    reader: What it is made for.
    train: Gives the records for training.
    template: What is read, with {source}.
    unit: What ROUGE counts: 'characters' of Chinese.
    beams: How many texts a search follows; 1: the likeliest token always.
    eval_beams: The same, at the evaluations of a run that still trains.
    length_penalty: Of beams: the more, the longer the texts.
    max_new_tokens: The most tokens of a summary; 0: config.data.target_length.
  """
  del train
  check_objective('summarisation', reader.objective, 'answers')

  def score(
    rows: Sequence[Record], predictions: Sequence[Prediction]
  ) -> Scores:
    made = [prediction['prediction'] for prediction in predictions]
    references = [row['target'] for row in rows]
    return metrics.summarisation(made, references, unit)

  return Task(
    encode=written.encoder(reader, template, 'of summaries'),
    predict=written.predictions,
    score=score,
    writing=written.writing(
      reader, max_new_tokens, beams, eval_beams, length_penalty
    ),
  )
