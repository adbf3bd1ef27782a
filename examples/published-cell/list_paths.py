"""Which ONNX nodes each searched path became: read from the names that datac gives them."""

import sys
from collections import defaultdict

import onnx

paths: dict[str, list[str]] = defaultdict(list)
for node in onnx.load(sys.argv[1]).graph.node:
    pieces = node.name.split("/")
    if len(pieces) > 4 and pieces[2].startswith("path"):
        paths["/".join(pieces[:4])].append(node.op_type)
for path, operations in paths.items():
    print(f"{path}: {' '.join(operations)}")
