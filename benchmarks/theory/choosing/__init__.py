"""`experiment=choosing`: what each choice of a dynamic costs."""
