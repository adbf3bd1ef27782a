"""Runs that were made up."""

from fidelity_record import Record, Searched, Trained, settings_of
from fidelity_sizes import SIZES

from datac.documents.gap import Gap
from datac.documents.read import read_genotype
from datac.documents.train_result import Score

CELLS = read_genotype("data-m4").model_copy(update={"provenance": None, "network": None})


def gap(supernet=0.5, derived=0.45, child=0.3, chance=0.1):
    return Gap(
        metric="accuracy",
        samples=100,
        sampled=(supernet - 0.01, supernet + 0.01),
        derived=derived,
        recomputed=derived,
        child=child,
        chance=chance,
        margin=0.05,
    )


def record(row="data-m4", seed=0, metric=0.6, decided=True, data="cifar10", size="tiny", **gaps):
    searched = Searched(
        decided=None if row == "random" else decided,
        reasons=() if decided else ("normal cell, node 2: the logits are where chance alone led",),
        genotype=CELLS,
        gap=gap(**gaps),
        epochs=2,
        steps=20,
        seconds=30.0,
    )
    score = Score(epoch=1, loss=1.0, accuracy=metric)
    return Record(
        size=size,
        data=data,
        row=row,
        seed=seed,
        settings=settings_of(SIZES["tiny"][data], row),
        searched=None if row == "fastscnn" else searched,
        trained=Trained(
            channels=None if row == "fastscnn" else 16,
            parameters=200_000,
            multiply_adds=16_000_000,
            metric="accuracy",
            best=score,
            last=score,
            epochs=1,
            seconds=60.0,
            latency_ms=2.0,
            reference_ms=1.0,
        ),
        dataset=data,
        dataset_digest="0" * 64,
        device="cpu (1 thread)",
        finished="2026-11-26",
    )
