"""The forms of a query's result, apart from show.py: the command line names them without importing Arrow."""

FORMATS = ("table", "csv", "json")
