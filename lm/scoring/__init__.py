"""How likely a text is to a model that nobody trained for the question."""
