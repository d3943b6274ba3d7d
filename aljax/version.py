"""Which version of aljax this is: told apart from the package's face, which loads what it names."""

__version__ = "0.1.0"
