"""A latency table that may bound a search: of this machine, its runtime, and not expired."""

from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from datac.documents.latency_table import LatencyTable
from datac.documents.precision import Precision
from datac.documents.read import read_json
from datac.documents.sentences import counted
from datac.errors import BadInput


def usable_table(path: Path, *, foreign: bool, may_be_foreign: bool = False) -> LatencyTable:
    """Read it. BadInput, with the command that renews it, where it says nothing about here and now.

    foreign: it may be of another machine or runtime version, for which the network is meant.
    may_be_foreign: whether the command has the option that says so.
    """
    table = read_json(path, LatencyTable)
    wrong = None
    if table.is_expired(datetime.now(UTC)):
        wrong = f"expired on {table.expires:%Y-%m-%d}"
    elif not foreign:
        wrong = _of_another_machine(table) or _of_other_engines(table)
    if wrong is None:
        return table
    renew = table.command or f"datac table --target {next(iter(table.runtimes), 'onnx')}"
    another = may_be_foreign and not table.is_expired(datetime.now(UTC))
    way_out = ", or say --foreign-table" if another else ""
    raise BadInput(f"{path}: {wrong}; renew it with: {renew}{way_out}")


def _of_another_machine(table: LatencyTable) -> str | None:
    from exporters.environment import environment

    here = environment()
    machine = table.machine
    if not machine.device.startswith("cuda") and machine.device != here.processor:
        return f"it is of another machine ({machine.device}, here is {here.processor})"
    if machine.cores is not None and machine.cores != here.cores:
        cores = counted(machine.cores, "core")
        return f"it is of a machine with {cores}, and this one has {here.cores}"
    for target, runtime in table.runtimes.items():
        version = here.packages.get(runtime.name) or here.packages.get(f"{runtime.name}-gpu")
        if version != runtime.version:
            return (
                f"its {target} is {runtime.name} {runtime.version}, and here is "
                f"{'none' if version is None else version}"
            )
    return None


def _of_other_engines(table: LatencyTable) -> str | None:
    from exporters.default_plan import rewrites_for
    from exporters.targets.target import BuildOptions

    for remainder in table.remainders:
        shape = (1, *remainder.network.input)
        options = BuildOptions(shape, precision=cast(Precision, remainder.dtype))
        today = rewrites_for(remainder.target, options)
        if set(today) != set(table.rewrites.get(remainder.target, ())):
            return f"its {remainder.target} engines are not rewritten as datac rewrites them today"
    return None
