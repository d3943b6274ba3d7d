"""Programs compiled for chips that are not there: what they launch, the memory that they take, what they multiply.

XLA compiles for a chip that it only knows the description of. Nothing here runs on one, so nothing here is a
measurement: figures that follow from an assumption say so.
"""
