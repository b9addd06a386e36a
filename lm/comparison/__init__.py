"""Variants under one budget: what each is given, what it did, and the report."""
