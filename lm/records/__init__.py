"""Labelled data: read from files and TFDS, divided, and compared."""
