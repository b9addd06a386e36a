"""Generate the answer to a text: a translation, summary, reply or label name.

The loss covers only the answer. An encoder reads the text; for a decoder alone,
the text precedes the answer in the same sequence.
"""

from lm.objectives import denoising
from lm.objectives.objective import Objective, PromptForm, check_form
from lm.types import Form, Vocabulary


def answers(
  form: Form,
  vocabulary: Vocabulary,
  *,
  prefix_visible: bool = False,
  z_loss: float = 0.0,
  label_smoothing: float = 0.0,
) -> Objective:
  """Returns the objective (Raffel et al. 2020, 2.4; Radford et al. 2018, 3.3).

  Args:
    form: Form of the model.
    vocabulary: Vocabulary of the tokenizer.
    prefix_visible: Whether a decoder alone attends bidirectionally within the
      text; the published GPTs are causal.
    z_loss: See `cross_entropy`.
    label_smoothing: See `cross_entropy`; Vaswani et al. (2017, 5.4) use 0.1.
  """
  check_form('answers', form, 'encoder_decoder', 'causal')
  pad_id = vocabulary.pad_id or 0
  denoising.end_of(vocabulary)

  def prepare(examples, index, seed):
    del index, seed
    names = ('source', 'source_sizes', 'target', 'target_sizes')
    pair = denoising.Rows(*(examples[name] for name in names))
    if form == 'encoder_decoder':
      return denoising.two_rows(pair, vocabulary.start_id)
    return denoising.one_row(pair, pad_id, prefix_visible)

  return Objective(
    prepare=prepare,
    loss=denoising.scorer(vocabulary, z_loss, label_smoothing),
    example_length=lambda length: length,
    scales={'tokens': 1.0},
    prompt_form=PromptForm(True, prefix_visible and form == 'causal'),
  )
