"""Data set + network → genotype, weights. Uses the compiler for every operation it runs."""
