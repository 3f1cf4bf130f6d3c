"""Request bodies of both kinds, whole and broken."""

import asyncio
import base64
import json
import tempfile
import threading
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.requests import Request
from starlette.types import Message

from serving.errors import ApiError
from serving.requests import bodies
from serving.requests.bodies import Body, nest, read_body

PICTURE = b"\x89PNG\r\n\x1a\n--B\r\n\0\xff"
URLENCODED = "application/x-www-form-urlencoded"
FORM = "multipart/form-data; boundary=B"
DATA_URL = f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"


def read(kind: str | None, body: bytes, step: int = 1 << 20, ends: bool = True) -> Body:
    """A body that comes in steps; ``ends``: the caller does not hang up before its end."""
    messages: list[Message] = [
        {"type": "http.request", "body": body[start : start + step], "more_body": True}
        for start in range(0, len(body), step)
    ]
    messages.append({"type": "http.request", "body": b""} if ends else {"type": "http.disconnect"})

    async def receive() -> Message:
        return messages.pop(0)

    headers = [] if kind is None else [(b"content-type", kind.encode("latin-1"))]
    return asyncio.run(read_body(Request({"type": "http", "method": "POST", "headers": headers}, receive)))


def refused(kind: str | None, body: bytes, **how: Any) -> tuple[int, str, str | None]:
    with pytest.raises(ApiError) as caught:
        read(kind, body, **how)
    assert len(caught.value.message) < 400
    return caught.value.status, caught.value.code, caught.value.param


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def part(name: str, data: bytes, more: str = "") -> bytes:
    return f'--B\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + data + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join([*parts, b"--B--\r\n"])


FILE = part("input_reference", PICTURE, '; filename="a.png"')


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON;x"])
def test_json(kind: str) -> None:
    body = read(kind, as_json({"prompt": "a", "seed": 7, "input_reference": {"image_url": DATA_URL}}))
    assert body == Body({"prompt": "a", "seed": 7}, PICTURE, None)
    assert read(kind, as_json({"input_reference": {"image_url": "https://a"}})) == Body({}, None, "https://a")
    assert read(kind, as_json({"input_reference": None})) == Body()


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize("kind", [FORM, 'Multipart/Form-Data; boundary="B"', f"{FORM}; charset=UTF-8"])
def test_forms(kind: str, step: int) -> None:
    sent = form(part("prompt", "ein Stern ✦".encode()), part("extra_params[eta]", b"1"), FILE)
    assert read(kind, sent, step) == Body({"prompt": "ein Stern ✦", "extra_params": {"eta": "1"}}, PICTURE, None)
    assert read(kind, form(part("input_reference[image_url]", DATA_URL.encode())), step) == Body({}, PICTURE)
    assert read(kind, form(FILE) + b"after", step) == Body({}, PICTURE)


def test_a_picture_as_the_text_of_a_url() -> None:
    """As the examples of vLLM-Omni and SGLang send it, in bodies of every kind and under either name."""
    for name in ("input_reference", "image_reference"):
        for value, found in ((DATA_URL, Body({}, PICTURE)), ("https://a", Body({}, None, "https://a"))):
            whole = json.dumps({"image_url": value})
            assert read("application/json", as_json({name: value})) == found
            assert read("application/json", as_json({name: {"image_url": value}})) == found
            for text in (value, whole):
                assert read(FORM, form(part(name, text.encode()))) == found
                assert read(URLENCODED, urlencode({name: text}).encode()) == found
    assert read(FORM, form(part("image_reference", PICTURE, '; filename="a"'))) == Body({}, PICTURE)
    both = as_json({"input_reference": DATA_URL, "image_reference": DATA_URL})
    assert refused("application/json", both) == (400, "contradiction", "input_reference")


def test_urlencoded_forms() -> None:
    sent = "prompt=ein+Stern+%E2%9C%A6&extra_params[eta]=1&negative_prompt="
    fields = {"prompt": "ein Stern ✦", "extra_params": {"eta": "1"}, "negative_prompt": ""}
    assert read(URLENCODED, sent.encode(), 7) == Body(fields)
    for broken in (b"prompt=\xff", b"prompt=%ff", b"&".join(b"a%d=" % number for number in range(99))):
        assert refused(URLENCODED, broken) == (400, "invalid_form", None)


@pytest.mark.parametrize("kind", [None, "", "text/plain", "image/png", "\xff" * 999])
def test_other_kinds(kind: str | None) -> None:
    assert refused(kind, b"prompt=a") == (415, "unsupported_media_type", None)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b'"a"', b"[]", b"null", b"{}{}", b"{'a': 1}", b'{"a": 1,}', b"\xff\xfe{", b'{"a": "\xff"}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": ' + b"[" * 90_000 + b"}", b"[" * 50_000 + b"]" * 50_000, b'{"a":' * 50_000,
    ],
    ids=lambda body: repr(body[:12]),
)  # fmt: skip
def test_broken_json(body: bytes) -> None:
    assert refused("application/json", body) == (400, "invalid_json", None)


@pytest.mark.parametrize("bomb", [b"[]", b"{}", b"0", b'""', b'{"a":[]}'])
def test_small_bodies_stay_small(bomb: bytes) -> None:
    """Six million bytes of empty lists would be over a hundred million of objects."""
    body = b'{"a":[' + b",".join([bomb] * (6_000_000 // (len(bomb) + 1))) + b"]}"
    tracemalloc.start()
    assert refused("application/json", body) == (400, "invalid_json", None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * len(body)


def test_prompts_of_commas_are_taken() -> None:
    fields = {"prompt": "," * 32_000, "negative_prompt": "[" * 32_000}
    assert read("application/json", as_json(fields)).fields == fields


@pytest.mark.parametrize(
    "value",
    [
        "a.png", "/etc/passwd", 1, [], {}, {"image_url": 1}, {"image_url": None}, {"image_url": {"url": DATA_URL}},
        {"file_id": "file-1"}, {"image_url": DATA_URL, "file_id": "file-1"}, {"image_url": DATA_URL, "path": "/etc"},
    ],
)  # fmt: skip
def test_references_that_are_none(value: object) -> None:
    assert refused("application/json", as_json({"input_reference": value})) == (400, "invalid_value", "input_reference")


@pytest.mark.parametrize(
    "url",
    [
        "data:", "data:,", "data:image/png,abc", "data:image/png;base64", "data:image/png;base64,*", "DATA:;base64,a",
        "data:image/png;base64,AA=A", "data:image/png;base64,QUJD\n", "data:image/png;base64,é", "data:;base64,%41",
    ],
)  # fmt: skip
def test_broken_data_urls(url: str) -> None:
    assert refused("application/json", as_json({"input_reference": {"image_url": url}}))[1] == "invalid_image"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        pytest.param("multipart/form-data", form(FILE), id="no boundary"),
        pytest.param("multipart/form-data; boundary=", form(FILE), id="empty boundary"),
        pytest.param("multipart/form-data; boundary=C", form(FILE), id="another boundary"),
        pytest.param(f"multipart/form-data; boundary={'B' * 9999}", form(FILE), id="a long boundary"),
        pytest.param("multipart/form-data; boundary=\xff\xfe", form(FILE), id="an odd boundary"),
        pytest.param(f"{FORM}; charset=utf-7", form(part("prompt", b"+2AA-"), FILE), id="another charset"),
        pytest.param(
            f'{FORM}; charset="unicode_escape"', form(part("prompt", b"\\ud800"), FILE), id="a charset that is code"
        ),
        pytest.param(FORM, b"", id="nothing"),
        pytest.param(FORM, bytes(1000), id="noise"),
        pytest.param(FORM, as_json({"prompt": "a"}), id="JSON"),
        pytest.param(FORM, FILE + part("seed", b"7"), id="no end"),
        pytest.param(FORM, FILE[:-9], id="cut off in a file"),
        pytest.param(FORM, FILE[:20], id="cut off in a header"),
        pytest.param(FORM, form(FILE)[:-4], id="cut off in the last boundary"),
        pytest.param(FORM, form(b"--B\r\nContent-Disposition: form-data\r\n\r\na\r\n"), id="no name"),
        pytest.param(FORM, form(b"--B\r\nX: y\r\n\r\na\r\n"), id="no disposition"),
        pytest.param(FORM, form(b"--B\r\n\r\na\r\n"), id="no header"),
        pytest.param(FORM, form(b"--B\r\n\0\xff: a\r\n\r\na\r\n"), id="a header of noise"),
        pytest.param(FORM, form(b"--B\r\nX: " + b"y" * 99_999 + b"\r\n\r\na\r\n"), id="a long header"),
        pytest.param(FORM, form(b"--B\r\n" + b"X: y\r\n" * 9999 + b"\r\na\r\n"), id="many headers"),
        pytest.param(FORM, form(part("a" * 9999, b"1")), id="a long name"),
        pytest.param(FORM, form(*(part(f"field{number}", b"") for number in range(10_000))), id="many fields"),
        pytest.param(FORM, form(FILE, FILE), id="two files"),
        pytest.param(FORM, form(part("prompt", b"a" * (5 << 20))), id="a long field"),
    ],
)
@pytest.mark.parametrize("step", [1 << 20, 61])
def test_broken_forms(kind: str, body: bytes, step: int) -> None:
    assert refused(kind, body, step=step) == (400, "invalid_multipart", None)


@pytest.mark.parametrize(
    ("name", "told"),
    [("prompt", "prompt"), ("../../etc/passwd", "../../etc/passwd"), ("a" * 999, "a" * 80), ("input_reference[]",) * 2],
)
def test_files_go_into_one_field(name: str, told: str) -> None:
    assert refused(FORM, form(part(name, PICTURE, '; filename="a"'))) == (400, "unknown_parameter", told)


def test_a_picture_comes_once() -> None:
    url = part("input_reference[image_url]", b"https://a")
    assert refused(FORM, form(FILE, url)) == (400, "contradiction", "input_reference")
    assert refused(FORM, form(part("input_reference", PICTURE))) == (400, "invalid_value", "input_reference")


@pytest.mark.parametrize(
    "name", ["a.png", "../../etc/passwd", "..\\\\a", "/etc/passwd", "C:\\\\a", "a\0b", "", "ä✦", "a" * 999]
)
def test_names_of_files_do_not_matter(name: str) -> None:
    assert read(FORM, form(part("input_reference", PICTURE, f'; filename="{name}"'))).picture == PICTURE


def test_an_empty_file_is_one() -> None:
    assert read(FORM, form(part("input_reference", b"", '; filename="a.png"'))).picture == b""


def test_brackets() -> None:
    assert nest([("a", "1"), ("b[c]", "2"), ("b[d][e]", "3"), ("f[]", "4"), ("f[]", "5"), ("g[h][]", "6")]) == {
        "a": "1", "b": {"c": "2", "d": {"e": "3"}}, "f": ["4", "5"], "g": {"h": ["6"]},
    }  # fmt: skip
    assert nest([("[a]", "1"), ("b[", "2"), ("]", "3"), ("c]d[", "4")]) == {
        "[a]": "1",
        "b[": "2",
        "]": "3",
        "c]d[": "4",
    }
    assert nest([("extra_params", '{"eta": 1}')]) == {"extra_params": {"eta": 1}}


@pytest.mark.parametrize(
    "names",
    [
        ("a", "a"), ("a", "a[b]"), ("a[b]", "a"), ("a[]", "a[b]"), ("a[b]", "a[]"), ("a[b]", "a[b]"),
        ("a[b]", "a[b][c]"), ("a[][]",), ("a[][b]",), ("a[b][][c]",), ("a[b][c][d][e]",), ("a" + "[a]" * 5000,),
    ],
)  # fmt: skip
def test_brackets_that_mean_nothing(names: Iterable[str]) -> None:
    with pytest.raises(ApiError) as caught:
        nest((name, "1") for name in names)
    assert (caught.value.status, caught.value.code) == (400, "invalid_value")


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"eta": NaN', "{" * 5000])
def test_settings_as_broken_json(text: str) -> None:
    assert refused(FORM, form(part("extra_params", text.encode()))) == (400, "invalid_json", "extra_params")


@pytest.mark.parametrize("kind", [FORM, "application/json"])
def test_those_who_hang_up(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files above a megabyte go to the disk while they come: none stays there."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sent = FILE[:-9] + bytes(3 << 20)
    assert refused(kind, sent, ends=False) == (400, "client_disconnected", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [FORM, URLENCODED, "application/json"])
def test_the_event_loop_does_not_wait(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the texts of megabytes are parsed and decoded."""
    calls: set[tuple[str, threading.Thread]] = set()

    def noting(name: str, does: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*given: Any, **how: Any) -> Any:
            calls.add((name, threading.current_thread()))
            return does(*given, **how)

        return noted

    for module, name in ((json, "loads"), (base64, "b64decode"), (bodies, "parse_qsl"), (bodies, "nest")):
        monkeypatch.setattr(module, name, noting(name, getattr(module, name)))
    body = {
        FORM: form(part("input_reference", DATA_URL.encode()), part("extra_params", b"{}")),
        URLENCODED: urlencode({"input_reference": DATA_URL, "extra_params": "{}"}).encode(),
        "application/json": as_json({"input_reference": DATA_URL}),
    }[kind]
    assert read(kind, body).picture == PICTURE
    assert {name for name, _ in calls} >= {"loads", "b64decode"}
    assert threading.main_thread() not in {thread for _, thread in calls}


@pytest.mark.parametrize("size", [0, 1, (3 << 18) - 1, 3 << 18, (3 << 18) + 1, 5 << 20])
def test_pictures_come_in_pieces(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    url = f"data:image/png;base64,{base64.b64encode(data[:size]).decode()}"
    found = read("application/json", as_json({"input_reference": {"image_url": url}})).picture
    assert found == data[:size]


@pytest.mark.parametrize("last", ["AA==", "AAA=", "AA=A", "*AAA"])
def test_pieces_end_as_the_whole_does(last: str) -> None:
    """Padding is at the end of all, not of a piece."""
    url = "data:image/png;base64," + "A" * ((1 << 20) - 4) + last + "AAAA"
    assert refused("application/json", as_json({"input_reference": {"image_url": url}}))[1] == "invalid_image"
