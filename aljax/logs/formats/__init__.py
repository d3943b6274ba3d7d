"""Readers of traces, a file a format: what a document of it looks like, and the spans that are in it."""
