"""`experiment=figure3`: trajectories on the simplex."""
