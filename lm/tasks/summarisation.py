"""Summarisation, scored by ROUGE as computed by rouge-score."""

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
  """Returns the task, with the template and beams of T5 (Raffel et al. 2020).

  Args:
    reader: How the model reads.
    train: Returns the training records; not used.
    template: The text to read, with {source}.
    unit: What ROUGE counts: use 'characters' for Chinese.
    beams: Beam width; 1 means greedy decoding.
    eval_beams: Beam width for the evaluations during training.
    length_penalty: For beam search: the higher, the longer the texts.
    max_new_tokens: The most tokens of a summary; 0 means
      config.data.target_length.
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
