"""Models held against the documented rules of runtimes that need not be installed."""
