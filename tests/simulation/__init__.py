"""The cores of router and ingester, the memory buffer and an object store in memory, under one seeded driver.

    simulate.py          one run: chaos, a quiet point, chaos again, another, the ordered stop
    world.py             the driver: at each step one of the things that may happen now, chosen by the seed
    quiet.py             quiet points: everything comes to rest, and what is read is checked whole
    router_process.py    a router's core and what its driver would have under way
    ingester_process.py  the same for an ingester
    store.py, tasks.py   the object store, and store steps performed one call at a time
    chaos.py             whether a crash or a fault happens at a point
    workload.py          clients, and records that no router of ours would append
    model.py             what must be read, computed from the buffer's records
    audit.py             what must hold of every manifest record as it lands
    reading.py           a query: a view, and later the files of exactly the number it complements

`python -m tests.simulation.run --seed N --trace` runs one seed again alone.
"""
