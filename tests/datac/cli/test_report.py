from click.testing import CliRunner

from datac.cli.report import report


def test_it_prints_the_path_of_the_page(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    outcome = CliRunner().invoke(report, [str(tmp_path)], catch_exceptions=False)
    assert outcome.output == f"{tmp_path / 'report.html'}\n"
    assert (tmp_path / "report.html").is_file()
