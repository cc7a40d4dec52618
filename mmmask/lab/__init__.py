"""Experiments with mmmask itself: benchmarks, comparisons, the demo, soak tests, synthetic data."""
