"""Jobs that are killed, starved of memory and fed bad rows at random; `python -m` runs it."""
