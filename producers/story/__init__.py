"""What the simulator tells: a gallery's life as actors that take turns on one agenda."""
