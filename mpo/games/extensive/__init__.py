"""Two-player zero-sum games with hidden information: trees, sequence form, solvers, dynamics."""
