"""HTTP as every process serves it."""
