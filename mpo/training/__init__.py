"""The stages before self-play: supervised fine-tuning, reward model, preference model."""
