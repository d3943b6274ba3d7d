"""Kernels for accelerators: whole rollouts in one launch, made of the functions that the general path runs."""
