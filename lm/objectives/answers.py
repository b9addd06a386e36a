"""Write the answer to a text: translations, summaries, replies, labels by name.

Only what is written is asked for. An encoder reads the text; a decoder alone
has it in front of the answer, in the same row.
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
    form: How the model reads.
    vocabulary: What its tokens are.
    prefix_visible: Whether all of the text sees all of it, in a decoder alone;
      the published GPTs see what precedes.
    z_loss: See `cross_entropy`, as for the next.
    label_smoothing: A share; Vaswani et al. (2017, 5.4) have 0.1.
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
