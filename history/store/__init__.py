"""The files of the history: where they are, of which columns, how one is written and which of them count.

    schema.py    tables of `history.tables` as Arrow has them, and columns made tables
    layout.py    names and folders; the closed files of a table
    files.py     a file written aside, made safe and given its name
    views.py     the SQL that makes the tables out of closed files, for DuckDB

A reader needs no lock and no word from the collector: it lists the closed files and reads them.
"""
