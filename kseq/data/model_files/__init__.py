"""Model files as bytes: the archive and its arrays, read without Keras, libhdf5 or an engine.

Nothing here trusts a file; what it returns is bounded by the bytes that are there.
"""
