"""What is computed from the tables: Arrow tables to Arrow tables, nothing read or written.

Each function takes the rows of whole days, of one or of many, and gives the rows of these days.
"""
