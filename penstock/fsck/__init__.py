"""Whether the store holds what the manifests say: every file as it was written, the accounts, and nothing left over."""
