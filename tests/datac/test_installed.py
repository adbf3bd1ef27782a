from importlib.metadata import version

from datac.installed import installed_version


def test_versions() -> None:
    assert installed_version("click") == version("click")
    assert installed_version("no-such-distribution") is None
