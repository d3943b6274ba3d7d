"""What the host of a program is asked for: files, folders, the terminal, signals, the cache of compiled programs."""
