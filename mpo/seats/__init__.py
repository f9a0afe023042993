"""Games with seats, chance and hidden information, played by one network and any objective.

An episode stands where a prompt stands for language models, its two seats where two responses
that are compared stand, and a seat's decisions where tokens stand. The records and losses are
those of `mpo.records` and `mpo.objectives`; what a game has beside them ends in this package.
"""
