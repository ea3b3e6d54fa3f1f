"""The parts of a score weighed by what they tell of one item a user that training never saw."""
