"""`python -m router.workers DESCRIPTOR SEQUENCERS`, by process.py."""

from router.workers.worker import main

if __name__ == "__main__":
    main()
