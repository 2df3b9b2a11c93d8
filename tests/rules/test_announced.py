"""What is announced is looked at before a byte is sent, and all that is wrong with it is told."""

import pytest

from weighhouse.rules.announced import AnnouncedFile, ManifestInvalid, check_announced

DIGEST = "ab" * 32


def test_files_that_share_a_content_are_fine() -> None:
    check_announced([AnnouncedFile("a", 1, DIGEST), AnnouncedFile("b/a", 1, DIGEST)])


def test_no_more_than_twenty_faults_are_listed() -> None:
    with pytest.raises(ManifestInvalid) as refused:
        check_announced([AnnouncedFile("../a", 1, DIGEST)] * 30)
    assert [error["field"] for error in refused.value.errors] == [f"files.{number}.path" for number in range(20)]
    assert refused.value.detail == refused.value.errors[0]["detail"]


def test_a_file_is_no_folder() -> None:
    with pytest.raises(ManifestInvalid, match="also the folder"):
        check_announced([AnnouncedFile("a", 1, DIGEST), AnnouncedFile("a/b", 1, DIGEST)])
