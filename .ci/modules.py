"""Every module comes from a notebook: the modules of dpsynth are the `#| default_exp` of the notebooks."""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
exported = set()
for path in (ROOT / "nbs").rglob("[!._]*.ipynb"):
    if not {".ipynb_checkpoints", "_proc"} & set(path.parts):
        code = [
            "".join(c["source"])
            for c in json.loads(path.read_text(encoding="utf-8"))["cells"]
            if c["cell_type"] == "code"
        ]
        exported |= {m for c in code for m in re.findall(r"^#\|\s*default_exp\s+(\S+)", c, re.M)}
files = [p for p in (ROOT / "dpsynth").rglob("*.py") if p.name not in ("__init__.py", "_modidx.py")]
present = {".".join(p.relative_to(ROOT / "dpsynth").with_suffix("").parts) for p in files}
bad = [f"dpsynth has {m}, and no notebook exports it" for m in sorted(present - exported)]
bad += [f"a notebook says default_exp {m}, and dpsynth has no such module" for m in sorted(exported - present)]
print(*bad or [f"{len(present)} modules, each from its notebook"], sep="\n")
sys.exit(bool(bad))
