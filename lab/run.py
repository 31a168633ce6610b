"""Keep the lab up for manual work: ``python -m lab.run [USES ...]``, e.g. ``video,chat call game``.

Each word is one subscriber with the applications it uses (kinds of `lab.plan.SERVICES`). Prints the
commands that get you inside; Ctrl-C removes everything.
"""

from __future__ import annotations

import argparse
import sys
import time

from lab.lab import Lab
from lab.net import LabError, interruptible
from lab.plan import SERVICES, subscribers

__all__ = ["main"]


def main() -> None:
    """Run until interrupted; exit 1 with a sentence when the lab cannot be built."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("uses", nargs="*", default=["video,chat", "call", "game,web", "download"])
    parser.add_argument("--n6", action="store_true", help="mirror N6 to the probe as well")
    args = parser.parse_args()
    uses = [tuple(word.split(",")) for word in args.uses]
    unknown = sorted({kind for kinds in uses for kind in kinds} - SERVICES.keys())
    if unknown:
        parser.error(f"no such application: {', '.join(unknown)}; there are {', '.join(SERVICES)}")
    try:
        with interruptible(), Lab(subscribers(*uses), n6_port=args.n6) as lab:
            lab.announce_all()
            lab.start_clients()
            print(f"The lab is up with {len(uses)} subscribers; logs and truth are in {lab.folder}.")
            for name in ("probe", "ops", "ue1"):
                print(f"  {name:5}  {' '.join(lab.net.prefix(name))} bash")
            print("Ctrl-C ends it.", flush=True)
            while True:
                time.sleep(1)
                lab.check()
    except KeyboardInterrupt:
        print("The lab is gone.")
    except LabError as error:
        sys.exit(f"lab: {error}")


if __name__ == "__main__":
    main()
