"""docs/add-a-pass.md: the pass that it shows is one, and is exact."""

import re
from pathlib import Path

from compiler.lower import lower
from compiler.passes import CANONICAL
from compiler.proof import prove_each, randomise
from compiler.rewrite import apply
from compiler.text import parse_graph, print_graph
from datac.documents.network import DEFAULTS
from datac.published import load

PAGE = (Path(__file__).parents[2] / "docs/add-a-pass.md").read_text()


def test_the_pass_of_the_page_does_what_it_says_and_is_proved() -> None:
    source = next(b for b in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "class" in b)
    found: dict[str, type] = {}
    exec(source, found)
    shown = found["ReadThroughIdentity"]()
    text = re.search(r"```text\n(.*?)---", PAGE, re.S)
    assert text is not None
    lines = [line for line in text[1].splitlines() if not line.startswith("#")]
    case = parse_graph("\n".join(lines))
    after, log = apply(case, (shown,))
    assert log
    assert "identity" not in print_graph(after)
    sizes = {"channels": 4, "cells": 3}
    graph = lower(load("data-m4"), DEFAULTS["cifar"].model_copy(update=sizes))
    randomise(graph)
    (step,) = prove_each(graph, apply(graph, CANONICAL)[0], (shown,))
    assert len(step.places) > 3
    assert step.proof.holds
