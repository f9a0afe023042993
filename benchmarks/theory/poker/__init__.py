"""`experiment=figure1`: tabular and neural self-play on poker."""
