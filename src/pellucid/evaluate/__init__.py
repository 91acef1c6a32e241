"""Evaluate: checks of an explanation, each with its control, and the verdict they give."""
