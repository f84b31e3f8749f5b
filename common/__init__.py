"""What every process of penstock shares.

values/ ids, errors, clock, settings. store/ the object store. catalog/ manifests, schemas, and which row wins. http/
and ipc/ what comes over the network. Here: the entry codec, logs, signals, the steps of starting.
"""
