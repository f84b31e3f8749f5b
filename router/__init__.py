"""The router: accepts writes over HTTP, puts each series on one sequencer, acknowledges once the buffer has it.

api/ is HTTP, parsing/ turns bodies into records and refuses bad lines, core/ decides what becomes of each write;
service.py drives it, performer.py does what it asks for; main.py wires them and opens a lost buffer again.
"""
