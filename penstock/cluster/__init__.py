"""A cluster on this machine.

Before it runs: data_folder.py holds its folder, ports.py finds its ports, embedded.py says which processes there are.
While it runs: supervisor.py starts, watches and stops processes, child.py is one of them, restart.py decides if
and when a dead one is started again, process.py ends one whose supervisor died, merged_log.py merges their logs.
For people: welcome.py, status.py. existing.py opens a cluster to look at it.
"""
