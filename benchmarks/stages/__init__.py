"""`python benchmarks/run.py stage NAME`: the stages before self-play."""
