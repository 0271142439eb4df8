"""What the server that workers are forked from imports first."""

from bncompare.execution.quiet import silence_libraries

silence_libraries()
