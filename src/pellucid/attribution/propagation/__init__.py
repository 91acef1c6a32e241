"""Relevance that flows back by rules.

Layer-wise relevance propagation is the subject of patents (WO2016/150472 and its family). They do not restrict reading
or changing this code; whether they restrict your use of it is for you to find out.
"""
