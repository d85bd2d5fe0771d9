"""Pages that a script writes a part of: what stands between two marks."""

from __future__ import annotations


def put_between(page: str, begin: str, end: str, content: str) -> str:
    """The page with other content between two marks.

    Raises:
      ValueError: the page has not both marks, in this order.
    """
    before, found_begin, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"expected {begin!r} and {end!r} in the page. Received: a page without.")
    return f"{before}{begin}{content}{end}{after}"
