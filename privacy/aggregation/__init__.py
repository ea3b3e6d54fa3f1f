"""Protocols that bring a cohort's uploads together behind one interface (privacy/aggregator.py).

`masked/` and `encrypted/` are protocols: parties without I/O. Two drivers pass their messages:
`simulated/` in one process, `deployed/` between processes.
"""
