"""Zero-shot scoring: how likely a model finds a text."""
