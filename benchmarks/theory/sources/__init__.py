"""Where the games of an experiment come from."""
