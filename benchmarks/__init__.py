"""Measurements that the documentation quotes; each says what it ran on."""
