import io

import pytest
from rich.console import Console

from datac.report.summary import summarise


def printed(report, width=100):
    console = Console(file=io.StringIO(), width=width)
    console.print(summarise(report))
    return console.file.getvalue()


def test_it_says_what_the_page_says(report):
    text = printed(report)
    assert text.startswith("PASS  onnx f32 and openvino f32 agree")
    for words in (
        "3.44 M parameters",
        "built, not run",
        "trt f16 missing: TensorRT is not installed",
        "torch f32 failed: the run broke at once",
        "openvino f32 the latency is inconclusive",
        "4.4e-7",
        "0.4953",
    ):
        assert words in text


def test_columns_that_nothing_fills_are_left_out(report):
    text = printed(report.model_copy(update={"targets": report.targets[2:]}))
    assert "median ms" not in text
    assert "tolerance" not in text


def test_it_fits_a_narrow_terminal(report, bare_report):
    assert max(map(len, printed(report, 80).splitlines())) <= 80
    assert printed(bare_report)


def test_markup_in_a_report_is_printed_as_it_stands(report):
    hostile = report.model_copy(update={"weights": "[bold red]x[/] [/closing]"})
    assert "[bold red]x[/] [/closing]" in printed(hostile)


@pytest.mark.parametrize(("threads", "advised"), [(1, False), (2, True), (None, False)])
def test_one_thread_is_advised_where_there_were_more(report, threads, advised):
    (noisy,) = [t for t in report.targets if t.latency_ms and not t.latency_ms.conclusive]
    latency = noisy.latency_ms.model_copy(update={"threads": threads})
    alone = report.model_copy(
        update={"targets": (noisy.model_copy(update={"latency_ms": latency}),)}
    )
    text = " ".join(printed(alone).split())
    assert "time it on an idle machine" in text
    assert ("or with --threads 1" in text) == advised
