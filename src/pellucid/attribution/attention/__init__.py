"""What attention weights tell.

They show where a model looks, not why it answers; the evidence of a result says how far the two agree.
"""
