"""The experiments on games: `python benchmarks/run.py experiment=dynamics`, figure3 and others."""
