"""Keep the lab up for manual work: ``python -m lab.run [USES ...]``, e.g. ``video,chat call game``.

Each word is one subscriber with the applications it uses (kinds of `lab.plan.SERVICES`). Prints the
commands that get you inside, and the ``snf run`` line and startup file to go on with; Ctrl-C removes everything.
With ``--function snf`` that command runs as the function
beside it, configured over NETCONF, and as a subscriber of its feed; what the feed says is in ``records.jsonl``.
"""

from __future__ import annotations

import argparse
import secrets
import shlex
import shutil
import sys
import time
from contextlib import ExitStack

from lab.lab import Lab
from lab.net import LabError, interruptible
from lab.operator import ENDPOINT, Operator
from lab.plan import SERVICES, subscribers
from nf.errors import SnfError

__all__ = ["main"]

_KEY_BYTES = 32
_FEED = "records.jsonl"


def _run_function(lab: Lab, operator: Operator) -> None:
    """Start and configure the function, and a subscriber that writes down what it publishes."""
    operator.start_function()
    operator.configure(secrets.token_bytes(_KEY_BYTES))
    watch = f'exec "$0" watch --endpoint {ENDPOINT} --output json >{lab.folder / _FEED}'
    lab.start_inside("feed", "ops", "sh", "-c", watch, *operator.program)


def _say_next(lab: Lab, operator: Operator) -> None:
    """Print the line that starts a function beside the lab, and the one that shows its feed."""
    startup = operator.startup(secrets.token_bytes(_KEY_BYTES))
    here = shlex.join([*lab.net.prefix("probe"), *operator.command(), "--startup", str(startup)])
    print(f"  next, a function beside it:\n         {here}")
    feed = shlex.join([*lab.net.prefix("ops"), *operator.program, "top", "--endpoint", ENDPOINT])
    print(f"  and, in another terminal, what it publishes:\n         {feed}")


def _say(lab: Lab, function: str | None) -> None:
    """Print where things are."""
    print(f"The lab is up with {len(lab.subscribers)} subscribers; logs and truth are in {lab.folder}.")
    for name in ("probe", "ops", "ue1"):
        print(f"  {name:5}  {' '.join(lab.net.prefix(name))} bash")
    if not function:
        _say_next(lab, Operator(lab))
    else:
        print(f"  what the function publishes: {lab.folder / _FEED}, or as a table:")
        print(f"         {' '.join(lab.net.prefix('ops'))} {function} top --endpoint {ENDPOINT}")
    print("Ctrl-C ends it.", flush=True)


def main() -> None:
    """Run until interrupted; exit 1 with a sentence when the lab cannot be built."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("uses", nargs="*", default=["video,chat", "call", "game,web", "download"])
    parser.add_argument("--n6", action="store_true", help="mirror N6 to the probe as well")
    parser.add_argument("--function", metavar="SNF", help="run this command as the function, and listen to its feed")
    args = parser.parse_args()
    uses = [tuple(word.split(",")) for word in args.uses]
    unknown = sorted({kind for kinds in uses for kind in kinds} - SERVICES.keys())
    if unknown:
        parser.error(f"no such application: {', '.join(unknown)}; there are {', '.join(SERVICES)}")
    if args.function and not shutil.which(args.function):
        parser.error(f"there is no command {args.function}: install the package, or give .venv/bin/snf")
    try:
        with interruptible(), Lab(subscribers(*uses), n6_port=args.n6) as lab, ExitStack() as stack:
            if args.function:
                program = (str(shutil.which(args.function)),)
                _run_function(lab, stack.enter_context(Operator(lab, program=program)))
            lab.announce_all()
            lab.start_clients()
            _say(lab, args.function)
            while True:
                time.sleep(1)
                lab.check()
    except KeyboardInterrupt:
        print("The lab is gone.")
    except (LabError, SnfError) as error:
        sys.exit(f"lab: {error}")


if __name__ == "__main__":
    main()
