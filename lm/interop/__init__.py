"""Reading and writing of published checkpoints: names, layouts, configs."""
