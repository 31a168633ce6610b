"""``programs.py FOLDER``: compile all that `snf run`, `snf replay` and `snf doctor` load, into a folder for a package.

The kernel makes the maps of the programs for a moment, so it takes root; the result does not depend on the kernel.
"""

import os
import sys

from nf.kernel import compiled, source

_NEWER_KERNEL = ["-DXDP_FRAGS"]  # Linux 5.18, as each kernel of Debian 12 is
_SENT = ["-DEGRESS"]  # the programs on what ports of a UPF's host send, which snf doctor looks at, too

os.environ["SNF_CACHE"] = sys.argv[1]
for replay in (False, True):
    compiled.compiled([*source.flags(replay=replay), *_NEWER_KERNEL])
compiled.compiled([*source.flags(replay=False), *_SENT])
