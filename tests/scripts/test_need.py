"""scripts/need, called by tests that run side by side."""

from __future__ import annotations

import os
import subprocess

from paths import ROOT

NEED = ROOT / "scripts/need"
# As the real one: of two at once, one fails; a package is visible before it can be used.
APT_GET = """#!/bin/sh
exec 8>"$0.lock"
set -e
flock --nonblock 8 || exit 100
[ "$1" = install ] || exit 0
cp /bin/true "${0%/*}/xcor-program"
sleep 0.3
echo installed >>"$0.log"
"""


def test_programs_that_several_need_at_once_are_installed_once_and_waited_for(tmp_path):
    for name, text in (("apt-get", APT_GET), ("id", "#!/bin/sh\necho 0\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    # Each prints the packages that were installed when its own was ready.
    command = f"{NEED} xcor-program:xcor-package && cat {tmp_path}/apt-get.log"

    asked = [
        subprocess.Popen(["bash", "-c", command], env=environ, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]

    assert [one.communicate()[0] for one in asked] == ["installed\n"] * 4
