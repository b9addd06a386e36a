"""Attention kernels; `lm.models.attention` chooses among them."""
