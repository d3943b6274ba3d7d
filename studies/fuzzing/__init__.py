"""Parts of `fuzz.py`: inputs made from good ones, what reads them, and what may come of it."""
