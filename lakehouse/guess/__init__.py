"""Guess a stage file from a plant's files: form of the text, meaning of the columns, folders."""
