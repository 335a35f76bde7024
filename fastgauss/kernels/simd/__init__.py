"""SIMD instructions: lanes, masks, prefetch, memory on the stack."""
