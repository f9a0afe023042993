"""Magnetic Preference Optimization: self-play on a general preference, last-iterate convergence."""
