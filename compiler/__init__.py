"""Genotype, network and weights → graph → rewritten graph → PyTorch or ONNX.

Nothing here knows of training, engine files or the command line. Torch is imported by
`torch_module` and inside an operation's `to_torch`; everything else works without.
"""
