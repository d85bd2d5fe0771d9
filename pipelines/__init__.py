"""Jobs that people run: read, preprocess, infer, write."""
