"""The command `platelake`: a module for each group of commands."""
