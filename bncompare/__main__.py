"""`python -m bncompare` is the same as `bncompare`."""

from bncompare.cli import main

main()
