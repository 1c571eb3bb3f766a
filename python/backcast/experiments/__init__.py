"""Experiments with public data: the demonstration, the paper's table, the command line.

They use public names of backcast only.
"""
