"""The command line and the embedded cluster: the only package that knows all the others."""

__version__ = "0.1.0"
