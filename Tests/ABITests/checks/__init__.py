"""The checks that run.py runs, one module for each subject."""
