"""`experiment=dynamics`: any dynamics on any games."""
