"""From an image to what a network reads, as its network document says; numpy and pillow."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datac.datasets.dataset import Dataset
from datac.documents.network import Network, Preprocessing

IMAGENET = Preprocessing(mean=(0.485, 0.456, 0.406), standard_deviation=(0.229, 0.224, 0.225))
"""The constants of the ImageNet training set that torchvision's models use."""
CIFAR10 = Preprocessing(mean=(0.4914, 0.4822, 0.4465), standard_deviation=(0.2470, 0.2435, 0.2616))
"""The constants in the code of DARTS (Liu, Simonyan, Yang, ICLR 2019) and of DATA."""
CENTRED = Preprocessing(mean=(0.5, 0.5, 0.5), standard_deviation=(0.5, 0.5, 0.5))
"""To -1..1."""

PUBLISHED = {"cifar10": CIFAR10, "shapes": CENTRED, "shapes-classification": CENTRED}
"""By the data set's name; every other photograph takes ImageNet's."""


def published_preprocessing(dataset: Dataset) -> Preprocessing:
    """The usual mean and deviation for the data set, RGB, no resize."""
    return PUBLISHED.get(dataset.name, IMAGENET)


def prepared_network(network: Network, dataset: Dataset) -> Network:
    """The network with the data set's classes, and images resized to its input.

    Mean and deviation are its own where it has any, else the usual ones for the data.
    """
    how = network.preprocessing or published_preprocessing(dataset)
    how = how.model_copy(update={"resize": network.input[1:]})
    return network.model_copy(update={"preprocessing": how, "class_info": dataset.classes})


def preprocess(image: NDArray[np.uint8], how: Preprocessing) -> NDArray[np.float32]:
    """(H, W, 3) RGB → (3, H', W') float32: resize, colour order, (pixel / 255 - mean) / deviation.

    Mean and deviation are in the colour order of `how`.
    """
    resized = image if how.resize is None else resize_image(image, how.resize)
    ordered = resized[:, :, ::-1] if how.color_order == "BGR" else resized
    mean = np.array(how.mean, dtype=np.float32)
    deviation = np.array(how.standard_deviation, dtype=np.float32)
    scaled = (ordered.astype(np.float32) / np.float32(255) - mean) / deviation
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def resize_image(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, 3) → (*size, 3), `size` = (height, width). Bilinear; a smaller one is averaged."""
    return _resized(image, size, Image.Resampling.BILINEAR)


def resize_label(label: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W) → size. Nearest, so no class number is invented."""
    return _resized(label, size, Image.Resampling.NEAREST)


def _resized(
    pixels: NDArray[np.uint8], size: tuple[int, int], by: Image.Resampling
) -> NDArray[np.uint8]:
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), by))
