"""Published checkpoints, read and written: names, layouts, configs."""
