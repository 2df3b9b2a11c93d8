"""What a card's link to its license names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules.license_links import linked_file, linked_license


@pytest.mark.parametrize(
    ("link", "license_"),
    [
        ("https://www.apache.org/licenses/LICENSE-2.0", "Apache-2.0"),
        ("http://www.apache.org/licenses/LICENSE-2.0.txt", "Apache-2.0"),
        ("https://opensource.org/licenses/MIT", "MIT"),
        ("https://opensource.org/license/mit/", "MIT"),
        ("https://choosealicense.com/licenses/agpl-3.0/", "AGPL-3.0-only"),
        ("https://spdx.org/licenses/BSD-3-Clause.html", "BSD-3-Clause"),
        ("https://www.gnu.org/licenses/gpl-3.0.en.html", "GPL-3.0-only"),
        ("https://www.gnu.org/licenses/old-licenses/lgpl-2.1.html", "LGPL-2.1-only"),
        ("https://www.mozilla.org/en-US/MPL/2.0/", "MPL-2.0"),
        ("https://creativecommons.org/licenses/by-nc-sa/4.0/deed.en", "CC-BY-NC-SA-4.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("https://example.org/licenses/MIT", ""),
        ("https://spdx.org.example/licenses/MIT", ""),
        ("https://github.com/acme/code/blob/main/LICENSE", ""),
        ("https://[", ""),
        ("LICENSE", ""),
        (None, ""),
        (["https://spdx.org/licenses/MIT"], ""),
    ],
)
def test_a_well_known_page_names_its_license_and_no_other_does(link: object, license_: str) -> None:
    assert linked_license(link).expression == license_


@pytest.mark.parametrize(
    ("link", "path"),
    [
        ("LICENSE", "LICENSE"),
        ("./LICENSE", "LICENSE"),
        ("docs/TERMS%20OF%20USE.md", "docs/TERMS OF USE.md"),
        ("LICENSE#section", "LICENSE"),
        ("https://huggingface.co/Acme/Tiny/blob/main/LICENSE", "LICENSE"),
        ("https://huggingface.co/acme/tiny/resolve/main/docs/TERMS%20OF%20USE.md", "docs/TERMS OF USE.md"),
        ("https://huggingface.co/acme/other/blob/main/LICENSE", None),
        ("README.md", None),
        ("../LICENSE", None),
        ("/LICENSE", None),
        ("NOTHING", None),
        ({"a": 1}, None),
    ],
)
def test_a_link_names_a_file_of_its_own_package_or_none(link: object, path: str | None) -> None:
    assert linked_file(link, "acme/tiny", {"LICENSE", "README.md", "docs/TERMS OF USE.md"}) == path


@given(st.one_of(st.text(), st.from_regex(r"https?://(spdx|gnu|creativecommons)\.org/.{0,40}")))
def test_no_link_is_too_odd(link: str) -> None:
    linked_file(link, "a/b", {"c"})
    linked_license(link)
