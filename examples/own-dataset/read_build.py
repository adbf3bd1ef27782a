"""Segment one image with an engine of datac, without datac: writes prediction.png."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

folder = Path("build/engines/onnx-f32")
side_car = json.loads((folder / "engine.json").read_text())
how = side_car["network"]["preprocessing"]
classes = side_car["network"]["class_info"]
height, width = how["resize"]
print("classes:", ", ".join(classes["names"]))
print(f"input: {how['color_order']}, (pixel / 255 - mean) / deviation, resized to {height}x{width}")
print(f"engine: {(folder / side_car['engine']).relative_to('build')}")

image = Image.open("images/val24.png").convert(how["color_order"])
image = image.resize((width, height), Image.Resampling.BILINEAR)
pixels = (np.asarray(image) / 255 - how["mean"]) / how["standard_deviation"]
session = onnxruntime.InferenceSession(
    folder / side_car["engine"], providers=["CPUExecutionProvider"]
)
batch = pixels.astype(np.float32).transpose(2, 0, 1)[None]  # (N, C, H, W)
(logits,) = session.run(["logits"], {"input": batch})  # (N, classes, H, W)
colors = np.array(classes["colors"], np.uint8)[logits[0].argmax(axis=0)]
Image.fromarray(colors).save("prediction.png")
