"""Questions to the past: one text of SQL each, filled in here, asked of DuckDB over closed files or of another engine.

    text.py    the questions, their parameters, and the text that an engine gets
    files.py   a folder that is to be asked: is it one
    run.py     a question, or somebody's own SQL, asked of a folder

The texts keep to what DuckDB, Spark and ClickHouse 18.16 have in common: sums, counts, cases, joins by equal columns
(`using`, one a level), integer times, an order without ties. No alias has the name of a column that it is made from,
since that ClickHouse reads a name as its alias everywhere in a select.
"""
