"""The parts of one training: precision, schedule, optimiser, objective, the compiled step, checkpoints."""
