"""What the tables say of runs that were made up."""

from fidelity_tables import gap_sentence, report
from made_up_runs import record


def section(text, title):
    return text.split(f"### {title}")[1].split("###")[0]


def many(row, metrics, **how):
    return [record(row, seed, metric, **how) for seed, metric in enumerate(metrics)]


BASE = many("random", (0.50, 0.51, 0.52))


def test_only_searches_that_decided_count_in_the_first_table():
    runs = [*BASE, *many("data-m4", (0.60, 0.61)), *many("darts", (0.7, 0.8), decided=False)]
    decided = section(report(runs), "Retrained: runs whose search decided")
    everything = section(report(runs), "Retrained: all runs, decided or not")
    assert "| data-m4 | 2 | 2 of 2 | 0.6050 ± 0.0071 | +0.0950 |" in decided
    assert "better" in decided
    assert "darts" not in decided
    assert "| darts | 2 | 0 of 2 |" in everything


def test_what_nobody_knows_is_called_inconclusive():
    text = report([*BASE, *many("data-m4", (0.49, 0.52, 0.51))])
    assert "inconclusive" in section(text, "Retrained: runs whose search decided")


def test_a_net_made_by_hand_has_no_search():
    text = report([*BASE, *many("fastscnn", (0.4, 0.5))])
    assert "| fastscnn | 2 | – | 0.4500 ± 0.0707 |" in section(text, "Retrained: all runs")
    assert "fastscnn" not in section(text, "The gap")


def test_gaps_are_compared_where_there_are_any():
    ours, theirs = record(supernet=0.5, child=0.48), record("darts", supernet=0.6, child=0.2)
    assert "ratio 0.05" in gap_sentence([ours, theirs])
    lost = record("darts", supernet=0.12)
    assert gap_sentence([ours, lost]) == "No ratio of gaps: no supernet of darts is above chance."
    assert "| darts | 0 of 1 |" in section(report([ours, lost]), "The gap")


def test_every_data_set_has_its_tables_and_nothing_is_said_of_nothing():
    assert report([]) == "no run is finished"
    text = report([record(), record(data="camvid")])
    assert text.index("## cifar10") < text.index("## camvid")
