"""Input and output of the engine: arrays, scaling, memory."""
