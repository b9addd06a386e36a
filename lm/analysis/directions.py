"""Whether higher is better for a metric, judged by its name."""

import re

# Words for which lower is better, anywhere in a metric's name:
# validation_loss, loss, perplexity_per_word, bits_per_byte, lost_to_length.
_LOWER = re.compile(
  r'(?:^|[/_.])'
  r'(?:loss|perplexity|error|errors|missing|lost|(?:bits|nats|seconds)_per_\w+)'
  r'(?:$|[/_.])'
)


def higher_is_better(metric: str) -> bool:
  """Returns False for losses, perplexities, errors and the like, else True."""
  return not _LOWER.search(metric)
