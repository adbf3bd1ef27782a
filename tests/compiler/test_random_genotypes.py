"""Any genotype lowers, holds every invariant, and is the same network in ONNX as in torch."""

from collections.abc import Callable

import numpy as np
import onnxruntime
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.graph import Graph
from compiler.lower import lower
from compiler.ops import BatchNorm
from compiler.passes import CANONICAL
from compiler.rewrite import apply
from compiler.torch_module import GraphModule, bind
from compiler.verify import verify
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from exporters.onnx_writer import write_onnx

SKELETONS = st.sampled_from(["cifar", "imagenet", "segmentation"])
Tiny = Callable[..., Network]


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_it_lowers_and_verifies_in_every_form(
    genotypes: st.SearchStrategy[Genotype], tiny: Tiny, data: st.DataObject
) -> None:
    genotype, network = data.draw(genotypes), tiny(data.draw(SKELETONS))
    child = lower(genotype, network)
    training = lower(genotype, network, training=True)
    search = lower(genotype, network, form="search")
    counted = lower(genotype, network, keep_unread=True)
    for graph in (child, training, search):
        verify(graph)
    assert child.weight_specs().items() <= training.weight_specs().items()
    assert child.cost().multiply_adds == search.cost().multiply_adds
    assert child.cost().parameters <= counted.cost().parameters


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_its_onnx_is_its_torch_at_every_size(
    genotypes: st.SearchStrategy[Genotype], tiny: Tiny, data: st.DataObject
) -> None:
    graph = lower(data.draw(genotypes), tiny(data.draw(SKELETONS)))
    torch.manual_seed(0)
    module = trained(graph)
    bind(graph, module)
    folded, _ = apply(graph, CANONICAL)
    assert not [node for node in folded.nodes() if isinstance(node.op, BatchNorm)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = write_onnx(folded, {}).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    for size in ((35, 33), (12, 19)):
        x = torch.randn(2, 3, *size)
        with torch.inference_mode():
            expected = module(x).numpy()
        (found,) = session.run(None, {"input": x.numpy()})
        # Where sums nearly cancel, what is left is compared with what was summed.
        scale = max(float(np.abs(expected).max()), 1.0)
        assert np.abs(found - expected).max() / scale < 1e-5


def trained(graph: Graph) -> GraphModule:
    """With running statistics of its own, so that values stay near one, as after training."""
    module = GraphModule(graph).train()
    with torch.no_grad():
        for _ in range(3):
            module(torch.randn(4, 3, 35, 33))
    return module.eval()
