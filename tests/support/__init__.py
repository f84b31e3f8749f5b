"""What several tests share: waiting, twins, drivers."""
