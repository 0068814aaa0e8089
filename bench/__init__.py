"""Measurements of cost: memory, CPU and time, in ratios where there is a rival. Nothing here is a test."""
