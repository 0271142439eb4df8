"""Imported by the server that workers are forked from, before the libraries that it is to keep quiet."""

from bncompare.streams import silence_libraries

silence_libraries()
