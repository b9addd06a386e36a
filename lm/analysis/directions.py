"""Whether more of a metric is better, which its name tells."""

import re

# What one has less of the better a model is, anywhere in a metric's name:
# validation_loss, loss, perplexity_per_word, bits_per_byte, lost_to_length.
_LOWER = re.compile(
  r'(?:^|[/_.])'
  r'(?:loss|perplexity|error|errors|missing|lost|(?:bits|nats|seconds)_per_\w+)'
  r'(?:$|[/_.])'
)


def higher_is_better(metric: str) -> bool:
  """Returns False for losses, perplexities, errors and the like, else True."""
  return not _LOWER.search(metric)
