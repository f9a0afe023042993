"""Judges: objects that give P(y ≻ y′ | x)."""
