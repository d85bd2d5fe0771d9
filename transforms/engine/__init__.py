"""One process, its devices, one model: everything below the pipeline. Imports no Beam."""
