import pytest

from base.storage.folder import Folder
from dataset.parts.each import apply_each


@pytest.mark.parametrize("uri", ["/data/clips", "s3://bucket/clips"])
@pytest.mark.parametrize("count", [0, 1, 5, 64, 65, 5000])
def test_results_are_in_order(uri: str, count: int) -> None:
    """In this thread, as of quick items on a disk, and in several."""
    assert apply_each(Folder(uri), str, range(count)) == [str(number) for number in range(count)]


@pytest.mark.parametrize("uri", ["/data/clips", "s3://bucket/clips"])
def test_of_two_errors_the_first_is_raised(uri: str) -> None:
    def fail(number: int) -> int:
        if number in (70, 4000):
            raise ValueError(f"item {number}")
        return number

    with pytest.raises(ValueError, match="item 70$"):
        apply_each(Folder(uri), fail, range(5000))
