"""`penstock demo`: the whole path, shown and checked."""
