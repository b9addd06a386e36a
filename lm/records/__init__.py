"""Labelled data: read from files and TFDS, split, and compared."""
