"""`python -m router.workers DESCRIPTOR SEQUENCERS`, by process.py."""

from common.pandas_unused import keep_pandas_out

if __name__ == "__main__":
    keep_pandas_out()
    from router.workers.worker import main

    main()
