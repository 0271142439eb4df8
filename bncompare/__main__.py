"""`python -m bncompare` is the same as `bncompare`."""

from bncompare.cli import main

if __name__ == "__main__":  # worker processes import it too
    main()
