"""Sending writes to a router.

client.py sends one body, transfer.py cuts a file into bodies, load.py sends what devops.py generates.
"""
