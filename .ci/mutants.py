"""The gate of seeded bugs: each is put into a copy of the package, and an audit has to find it.

python .ci/mutants.py            all of nbs/tests/21_seeded_bugs.ipynb, as a table; exit code 1 unless each is found
python .ci/mutants.py WORD...    those whose name contains one of the words

The bugs and the gate are that notebook's; this runs its code, and a bug whose place has changed is an error.
"""

import json
import os
import sys
from pathlib import Path

os.chdir(Path(__file__).resolve().parent.parent / "nbs" / "tests")
notebook = json.loads(Path("21_seeded_bugs.ipynb").read_text(encoding="utf-8"))
space, said = {"__name__": "seeded_bugs"}, sys.stdout
with open(os.devnull, "w") as sys.stdout:  # what the notebook's own tests print
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"21_seeded_bugs, cell {cell['id']}", "exec"), space)
sys.stdout = said
sys.exit(space["gate"](sys.argv[1:]))
