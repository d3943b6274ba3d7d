"""What each command may be told, a file a command. Nothing here needs JAX: help and complaints are quick."""
