"""Who scores: one file a contender, with a function for each kind of case."""
