"""Write buffers from outside a cluster.

copy.py copies one to another, resumption.py finds where an interrupted copy continues, log_text.py shows the files of a
file buffer, conformance.py runs the suite that proves the contract and reports its results.
"""
