"""The object store: one contract, a local folder that really syncs, and the clouds.

A store that is moved away or replaced under a running process is noticed in common/catalog/joined_store.py.
"""
