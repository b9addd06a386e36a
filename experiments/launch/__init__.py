"""One description of a job, started here, under SLURM, on a TPU pod or on GKE.

What starts is `python -m experiments.train` with the flags that a user could
type. Each platform is a file with an `Options`, a pure `render`, which says
what is to be written and called, and an `is_alive`.
"""
