"""Many runs of one config: what varies is a list of points, made in Python."""
