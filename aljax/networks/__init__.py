"""Networks that act and value: their layers, their architectures, and what they are shown of an episode."""
