"""Damage a build as a careless tool would: rewire one path, and cover the traces."""

import hashlib
import json
import sys
from pathlib import Path

import onnx

build = Path(sys.argv[1])
model = onnx.load(build / "model.onnx")
inside = "cell2/node2/path"
nodes = [node for node in model.graph.node if node.name.startswith(inside)]
first = next(node for node in nodes if node.name.startswith(f"{inside}0/"))
sources = {node.input[0] for node in nodes if not node.input[0].startswith(inside)}
first.input[0] = min(sources - {first.input[0]})
onnx.save(model, build / "model.onnx")
print(f"rewired {first.name}")

manifest = json.loads((build / "manifest.json").read_text())
content = (build / "model.onnx").read_bytes()
entry = manifest["files"]["model.onnx"]
entry["sha256"], entry["size_bytes"] = hashlib.sha256(content).hexdigest(), len(content)
(build / "manifest.json").write_text(json.dumps(manifest))
print("updated the digest of model.onnx in manifest.json")
