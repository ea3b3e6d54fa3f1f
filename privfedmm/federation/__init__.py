"""The straight line of a round, and the backends that carry it."""

from privfedmm.federation.feature_pin import FeaturePin, FeaturesChangedError
from privfedmm.federation.rounds import RoundReport, run_round
from privfedmm.federation.simulator import Simulator
from privfedmm.federation.types import Algorithm, Backend, Costs, Saved, TrainsOnDevice

__all__ = ["Algorithm", "Backend", "Costs", "FeaturePin", "FeaturesChangedError", "RoundReport",
           "Saved", "Simulator", "TrainsOnDevice", "run_round"]
