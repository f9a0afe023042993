"""Preference games small enough to enumerate, their equilibria and their tabular dynamics."""
