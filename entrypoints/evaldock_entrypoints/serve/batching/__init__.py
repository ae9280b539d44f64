"""Continuous batching for engines that compute logits: slots, scheduling, sampling, one thread."""
