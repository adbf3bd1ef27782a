"""The command line: which commands there are, and the one handler of what escapes from them.

A command's file imports click at its top and a stage only inside the command, so that
`datac --help` and `datac show` answer at once. A command returns its ExitCode; nothing means 0.
"""

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from datac import __version__
from datac.cli.failures import explain
from datac.cli.together import is_said_by_another
from datac.errors import BadInput
from datac.exit_codes import ExitCode
from datac.torchrun import own_place

COMMANDS = {
    "search": "datac.cli.search:search",
    "derive": "datac.cli.derive:derive",
    "train": "datac.cli.train:train",
    "compile": "datac.cli.compile:compile_",
    "check": "datac.cli.check:check",
    "predict": "datac.cli.predict:predict",
    "bisect": "datac.cli.bisect:bisect",
    "reduce": "datac.cli.reduce:reduce",
    "faults": "datac.cli.faults:faults",
    "bench": "datac.cli.bench:bench",
    "profile": "datac.cli.profile:profile",
    "ablate": "datac.cli.ablate:ablate",
    "prune": "datac.cli.prune:prune",
    "table": "datac.cli.table:table",
    "report": "datac.cli.report:report",
    "inspect": "datac.cli.inspect:inspect",
    "show": "datac.cli.show:show",
    "dataset": "datac.cli.dataset:dataset",
    "selftest": "datac.cli.selftest:selftest",
    "doctor": "datac.cli.doctor:doctor",
}
"""Every command and where it stands, in the order in which a user meets them."""

TRAINS = ("search", "train")

SHARED = ("search",)
"""Those that torchrun may start in several processes; each of the others would do its work anew."""


def _debug_option() -> click.Option:
    """`--debug`, on the root and on every command.

    `run` reads it from the arguments themselves, so that it also counts where parsing fails.
    """
    return click.Option(
        ["--debug"], is_flag=True, expose_value=False, help="Print the traceback of an error."
    )


class LazyGroup(click.Group):
    """Imports a command's file when the command is asked for, and no other."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, with `--debug` among its options; None if there is none of this name."""
        if cmd_name not in self.commands and cmd_name in COMMANDS:
            module, _, attribute = COMMANDS[cmd_name].partition(":")
            command: click.Command = getattr(import_module(module), attribute)
            command.params.append(_debug_option())
            self.add_command(command, cmd_name)
        return super().get_command(ctx, cmd_name)


@click.group(
    cls=LazyGroup,
    params=[_debug_option()],
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="datac", message="%(prog)s %(version)s")
@click.pass_context
def root(context: click.Context) -> None:
    """From a folder of labelled images to a checked engine.

    \b
    In an empty folder, with nothing else given:
      datac search
      datac compile genotype.json --target onnx
    """  # noqa: D301 - \b is click's mark for lines that it must not join
    command, processes = context.invoked_subcommand, own_place().size
    if command is None:
        click.echo(context.get_help())
    elif processes > 1 and command not in SHARED:
        raise BadInput(
            f"datac {command} does not share its work between {processes} processes, only "
            f"{' and '.join(SHARED)} does; start it without torchrun"
        )


def run(arguments: Sequence[str]) -> ExitCode:
    """Run one command line; nothing escapes but what ends the process on purpose."""
    try:
        code = _invoke(list(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return ExitCode.PIPE_CLOSED
    except (Exception, KeyboardInterrupt) as error:  # the one outermost handler
        if "--debug" in arguments:
            traceback.print_exc()
        code, sentence = explain(error, next((a for a in arguments if a in COMMANDS), None))
        if not is_said_by_another(error, code):
            click.echo(f"datac: {sentence}", err=True)
        _save_output()
    return code


def _invoke(arguments: list[str]) -> ExitCode:
    """Parse and call.

    Not `root.main`: that turns a closed pipe into 1, which means a failed gate, and an EOFError
    into an interruption.
    """
    try:
        with root.make_context("datac", arguments) as context:
            return ExitCode(root.invoke(context) or ExitCode.PASS)
    except click.exceptions.Exit as end:
        return ExitCode(end.exit_code)


def _save_output() -> None:
    """Print what is still buffered, or drop it.

    Where the disk of a redirection is full, the interpreter would fail on it a second time and
    change the exit code.
    """
    try:
        sys.stdout.flush()
    except OSError:
        _discard_output()


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt("stopped from outside")


def one_thread_for_numpy(arguments: Sequence[str]) -> None:
    """Before numpy is imported, since it asks once.

    The products of `compiler/interpreter.py` are small: threads of numpy's BLAS gain nothing on an
    idle machine, and wait for one another on a busy one. Training is left alone: on some
    processors torch computes by the same library.
    """
    if not any(argument in TRAINS for argument in arguments):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main() -> NoReturn:
    """The entry point."""
    # Torch's threads else spin at every barrier; beside any other load that made a step ten times
    # slower. Read once, when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    one_thread_for_numpy(sys.argv[1:])
    # What a cancelled job or `docker stop` sends: clean up as after Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(run(sys.argv[1:]))
