"""What happens to rows between the log and the store, as named lists of steps over an ingester's core.

    language.py     what a line says
    world.py        who does it: ingesters on sequencers
    verbs.py        what each step does
    scenario.py     steps followed one by one, what is read checked after each, and what comes after every scenario
    facts.py        what a step can expect
    crashing.py     the same steps again, with a crash before and after each thing that they make durable
    test_*.py       the scenarios; test_language.py tests the harness itself

More of them, which were there before the language, are in tests/unit: a record in two partitions and jobs that end in
the other order (test_ingester_persisting.py), repeats and k + 1 before k (test_ingester_intake.py), poison
(test_ingester_dead_letters.py), clocks (test_ingester_clock.py), limits (test_ingester_limits.py).
"""
