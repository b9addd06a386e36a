"""What computes attention; `lm.models.attention` chooses among them."""
