"""Variants under one budget: their terms, their results, and the report."""
