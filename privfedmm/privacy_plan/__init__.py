"""From the privacy sections of a config to a plan, a mechanism, aggregators and a stack."""
