"""The experiment harness: plan, execute, aggregate, render (design.md section 5)."""
