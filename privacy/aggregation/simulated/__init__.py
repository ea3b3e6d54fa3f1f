"""All parties of a protocol in one process, as aggregators: for simulations, and no protection.

The parties are those of a deployment (`masked/`, `encrypted/`), and the messages between them are
made, checked and counted; but one process holds every key. `masked.py`, `encrypted.py` and
`routed.py` have the aggregators, `masked_round.py` and `encrypted_round.py` pass the messages.
Nothing is imported here: who masks alone loads no encryption.
"""
