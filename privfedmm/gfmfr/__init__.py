"""GFMFR: client training, grouping, fusion and distillation, in the order of a round."""
