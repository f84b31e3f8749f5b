"""InfluxDB's line protocol: what a line says. scalar.py, the strict parser of one line, decides; the other files read
plain lines many at once, by a structural index of their text, and say which lines are not plain.

What becomes of a line that is refused, and of the good ones beside it, is decided in router/parsing/batch.py.
"""
