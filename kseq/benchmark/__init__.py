"""How fast kseq is beside what else there is, every contender in turn within one run."""
