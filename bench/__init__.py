"""Benchmarks, each runnable on its own."""
