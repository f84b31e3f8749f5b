"""The command line's own means: options, exit codes, progress, stdout."""
