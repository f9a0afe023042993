"""`experiment=annotators`: the panel as a game a prompt."""
