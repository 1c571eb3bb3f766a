"""Link installed packages and what they require into a folder, for another environment's .pth file.

``python tests/lint/borrow.py FOLDER torch`` lends torch, whose 5 GB nobody downloads twice, to an
environment that is otherwise empty. pip finds the packages there and leaves them as they are.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path


def with_requirements(name: str, found: dict[str, Distribution]) -> dict[str, Distribution]:
    """Return a package and all that it requires, by their names; what is not installed is not."""
    name = re.sub("[-_.]+", "-", name).lower()
    if name not in found:
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            return found
        for line in found[name].requires or []:
            required, _, condition = line.partition(";")
            if "extra" not in condition:
                with_requirements(re.split(r"[^\w.-]", required.strip())[0], found)
    return found


def main(folder: Path, *names: str) -> None:
    """Fill a new folder with links."""
    folder.mkdir(parents=True)
    found: dict[str, Distribution] = {}
    for name in names:
        with_requirements(name, found)
    for package in found.values():
        for top in {Path(file).parts[0] for file in package.files or []}:
            target = Path(str(package.locate_file(top)))
            if top != ".." and target.exists() and not (folder / top).exists():
                (folder / top).symlink_to(target.resolve())
    print(f"lent: {', '.join(found)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
