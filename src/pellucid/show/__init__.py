"""Painters: a figure becomes matplotlib, HTML or text. They know figures only."""
