"""What a cluster knows about itself: manifests, cluster.json, schemas, cursors, paths, and which row wins."""
