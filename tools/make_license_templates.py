"""Writes `src/weighhouse/rules/license_templates.py`: license texts as hashed word pairs, without the texts.

The texts come from two packages that are fetched for this alone and are not installed:

    pip download --no-deps --only-binary :all: -d FOLDER identify==2.6.20 scancode-toolkit-mini==32.5.0
    python tools/make_license_templates.py FOLDER

Several texts of one license are several templates: with and without a title, an appendix or a preamble.
"""

import argparse
import ast
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from weighhouse.rules.license_fingerprints import pack, pairs_of, words_of

TARGET = Path(__file__).parents[1] / "src/weighhouse/rules/license_templates.py"

# SPDX keys whose texts both packages have under that key, GNU ones without their suffix.
KEYS = (
    "0BSD AFL-3.0 AGPL-3.0 Apache-1.1 Apache-2.0 Artistic-2.0 BSD-2-Clause BSD-3-Clause BSD-3-Clause-Clear "
    "BSD-4-Clause BSL-1.0 C-UDA-1.0 CC-BY-3.0 CC-BY-4.0 CC-BY-NC-3.0 CC-BY-NC-4.0 CC-BY-NC-ND-3.0 CC-BY-NC-ND-4.0 "
    "CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0 CC-BY-ND-3.0 CC-BY-ND-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC0-1.0 CDDL-1.0 "
    "CDLA-Permissive-1.0 CDLA-Permissive-2.0 CDLA-Sharing-1.0 ECL-2.0 EPL-1.0 EPL-2.0 EUPL-1.1 EUPL-1.2 GFDL-1.1 "
    "GFDL-1.2 GFDL-1.3 GPL-1.0 GPL-2.0 GPL-3.0 ISC LGPL-2.0 LGPL-2.1 LGPL-3.0 LGPLLR LPPL-1.3c MIT MIT-0 MPL-1.1 "
    "MPL-2.0 MS-PL NCSA ODC-By-1.0 ODbL-1.0 OFL-1.1 OSL-3.0 PDDL-1.0 PostgreSQL Python-2.0 UPL-1.0 Unlicense WTFPL "
    "Zlib"
)

# Model licenses are not in SPDX; the file under which the second package has each.
MODEL_FILES = {
    "apple-ascl": ("licenses/apple-sscl.LICENSE",),
    "bigcode-openrail-m": ("licenses/bigcode-open-rail-m-v1.LICENSE",),
    "bigscience-bloom-rail-1.0": ("licenses/bigscience-rail-1.0.LICENSE",),
    "bigscience-openrail-m": ("licenses/bigscience-open-rail-m.LICENSE",),
    "creativeml-openrail-m": ("licenses/stable-diffusion-2022-08-22.LICENSE",),
    "deepfloyd-if-license": ("rules/proprietary-license_931.RULE",),
    "deepseek": ("licenses/deepseek-la-1.0.LICENSE",),
    "falcon-2": ("licenses/falcon-2-11b-1.0.LICENSE",),
    "gemma": ("licenses/gemma-tou-2024-04-01.LICENSE", "licenses/gemma-tou-2025-03-24.LICENSE"),
    "llama2": ("licenses/llama-2-license-2023.LICENSE",),
    "llama3.1": ("licenses/llama-3.1-license-2024.LICENSE",),
    "llama3.2": ("licenses/llama-3.2-license-2024.LICENSE",),
    "llama3.3": ("licenses/llama-3.3-license-2024.LICENSE",),
    "llama4": ("licenses/llama-4-cla-2025.LICENSE",),
    "nvidia-open-model-license": ("licenses/nvidia-open-model-2025-04-28.LICENSE",),
    "openrail-pp": ("licenses/bigscience-open-rail-m2.LICENSE",),
    "qwen": ("licenses/qwen-2024.LICENSE",),
    "tongyi-qianwen": ("licenses/tongyi-qianwen-2023.LICENSE",),
}
OTHER_FILES = {"OpenMDW-1.0": ("licenses/openmdw-1.0.LICENSE",)}

_KEY = re.compile(r"^spdx_license_key: (\S+)", re.MULTILINE)
_GNU = re.compile(r"(A|L)?GPL-[\d.]+|GFDL-[\d.]+")


def identify_texts(wheel: Path) -> Iterator[tuple[str, str]]:
    """SPDX key and text of each license of `identify`, read from its source without running it."""
    with zipfile.ZipFile(wheel) as archive:
        tree = ast.parse(archive.read("identify/vendor/licenses.py"))
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            yield from ast.literal_eval(statement.value)


def scancode_texts(wheel: Path) -> Iterator[tuple[str, str]]:
    """SPDX key, or `LicenseRef-` and the hub's name, and text of each license of `scancode-toolkit-mini` that is wanted."""
    files = {name: f"LicenseRef-{license_id}" for license_id, names in MODEL_FILES.items() for name in names}
    files |= {name: license_id for license_id, names in OTHER_FILES.items() for name in names}
    with zipfile.ZipFile(wheel) as archive:
        for path in sorted(archive.namelist()):
            name = path.removeprefix("licensedcode/data/")
            if name not in files and not (name.startswith("licenses/") and name.endswith(".LICENSE")):
                continue
            head, _, text = archive.read(path).decode("utf-8").removeprefix("---").partition("\n---")
            key = _KEY.search(head)
            if name in files:
                yield files[name], text
            elif key:
                yield key[1].removesuffix("-only"), text


def main() -> None:
    """Writes the module.

    Raises:
        SystemExit: A package is missing in the folder, or a text in a package.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the two wheels lie")
    folder: Path = parser.parse_args().folder
    wheels = [next(folder.glob(f"{name}-*.whl"), None) for name in ("identify", "scancode_toolkit_mini")]
    if None in wheels:
        raise SystemExit(f"{folder} has not both wheels; see the head of this file for how to fetch them.")
    wanted = {*KEYS.split(), *OTHER_FILES, *(f"LicenseRef-{name}" for name in MODEL_FILES)}
    texts = [*identify_texts(wheels[0]), *scancode_texts(wheels[1])]  # type: ignore[arg-type]  # both were found above
    found = {(key, pack(pairs_of(words_of(text)))) for key, text in texts if key in wanted}
    if missing := wanted - {key for key, _ in found}:
        raise SystemExit(f"No text was found of {', '.join(sorted(missing))}.")
    rows = "".join(
        f'    (\n        "{_suffixed(key)}",\n        "{packed}",\n    ),\n' for key, packed in sorted(found)
    )
    TARGET.write_text(
        '"""License texts as hashed word pairs. Generated by `tools/make_license_templates.py`; do not edit."""\n\n'
        f"TEMPLATES: tuple[tuple[str, str], ...] = (\n{rows})\n",
        "utf-8",
    )


def _suffixed(key: str) -> str:
    return f"{key}-only" if _GNU.fullmatch(key) else key


if __name__ == "__main__":
    main()
