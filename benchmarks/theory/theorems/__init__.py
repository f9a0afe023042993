"""`experiment=theorems`: the paper's claims, both sides measured."""
