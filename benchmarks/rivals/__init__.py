"""The same learning, written as one would without aljax: what the benchmarks time beside it."""
