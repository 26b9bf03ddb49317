"""Attention for CPUs, in C."""
