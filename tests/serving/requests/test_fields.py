"""What a request may say, and what it comes to."""

import re
from dataclasses import replace
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from diffusion.options import Sampling
from serving.errors import ApiError
from serving.generate.models import ServedModel
from serving.jobs.job import Job, video_object
from serving.requests.fields import read_fields, resolve
from serving.video_api import RemixRequest, VideoRequest, VideoSettings

MODEL = ServedModel("m", "/nowhere", 512, 320, 16, (4.0, 32.0), 7, 150, ("trailing",), Sampling(steps=50))


def order(**fields: Any) -> Any:
    return resolve(read_fields(VideoRequest, {"prompt": "p", **fields}), MODEL)


def refused(**fields: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        order(**fields)
    assert caught.value.status == 400
    return caught.value


def test_defaults_are_the_models() -> None:
    found = order()
    assert (found.frames, found.fps, found.width, found.height) == (16, 18.0, 512, 320)
    assert found.sampling == Sampling(steps=50, guidance=7.5)
    assert 0 <= found.seed < 2**31
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("fields", "frames", "fps"),
    [
        ({"seconds": "2"}, 16, 8.0),
        ({"seconds": 4}, 16, 4.0),
        ({"seconds": "1", "fps": "8"}, 8, 8.0),
        ({"num_frames": "8", "seconds": "1"}, 8, 8.0),
        ({"num_frames": 16, "fps": 8, "seconds": "2"}, 16, 8.0),
        ({"num_frames": 7, "fps": 18, "seconds": "0.3889"}, 7, 18.0),
        ({"fps": 10}, 16, 10.0),
        ({"num_frames": 1}, 1, 18.0),
    ],
)
def test_frames_and_rate_from_any_two(fields: dict[str, Any], frames: int, fps: float) -> None:
    found = order(**fields)
    assert (found.frames, found.fps) == (frames, fps)


@pytest.mark.parametrize(
    ("fields", "param", "code", "told"),
    [
        (
            {"num_frames": 16, "fps": 8, "seconds": "3"},
            "seconds",
            "contradiction",
            "are 2 seconds, not 3",
        ),
        ({"num_frames": 17}, "num_frames", "unsupported_value", "up to 16"),
        ({"seconds": "8"}, "seconds", "unsupported_value", "16 frames last 0.5 to 4 seconds"),
        ({"seconds": 3, "fps": 8}, "seconds", "unsupported_value", "24 frames are requested"),
        ({"size": "320x512"}, "size", "unsupported_value", "512x320 (WIDTHxHEIGHT)"),
        ({"size": "big"}, "size", "invalid_value", "give WIDTHxHEIGHT, such as 512x320"),
        ({"num_inference_steps": "abc"}, "num_inference_steps", "invalid_value", 'is "abc": give a whole number'),
        ({"seconds": 0}, "seconds", "invalid_value", "is 0: give a number above 0, at most 600"),
        ({"seed": [1]}, "seed", "invalid_value", "is a list: give a whole number from 0 to 9223372036854775807"),
        ({"guidance_scale": "\ud800"}, "guidance_scale", "invalid_value", "is other text: give a number from 0 to 20"),
        ({"prompt": "a" * 32001}, "prompt", "invalid_value", 'is "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...: give at'),
        (
            {"extra_params": {"spacing": "x"}},
            "extra_params.spacing",
            "invalid_value",
            "give 'leading' or 'trailing'",
        ),
        ({"extra_params": "x"}, "extra_params", "invalid_value", "give an object"),
        ({"steps": 5}, "steps", "unknown_parameter", "Did you mean 'num_inference_steps'?"),
        ({"guidance": 5}, "guidance", "unknown_parameter", "Did you mean 'guidance_scale'?"),
        ({"image": 5}, "image", "unknown_parameter", "Did you mean 'input_reference'?"),
        ({"negative": 5}, "negative", "unknown_parameter", "Did you mean 'negative_prompt'?"),
        ({"frames": 5}, "frames", "unknown_parameter", "Did you mean 'num_frames'?"),
        ({"level": 5}, "level", "unknown_parameter", "Did you mean 'motion_level'?"),
        ({"motion_level": 5}, "motion_level", "unsupported_value", "m takes no motion level: leave it out."),
        ({"motion_level": 11}, "motion_level", "invalid_value", "is 11: give a whole number from 1 to 10, or leave it"),
        ({"motion_level": "2.5"}, "motion_level", "invalid_value", 'is "2.5": give a whole number from 1 to 10'),
        ({"zzz": 5}, "zzz", "unknown_parameter", "extra_params, user, input_reference."),
        ({"extra_params": {"steps": 5}}, "extra_params.steps", "unknown_parameter", "There are guidance_rescale, eta,"),
        ({"promt": "x"}, "promt", "unknown_parameter", "Did you mean 'prompt'?"),
        ({"extra_params": {"etta": 1}}, "extra_params.etta", "unknown_parameter", "Did you mean 'eta'?"),
        ({"extra_params": {"spacing": "leading"}}, "extra_params.spacing", "unsupported_value", "trailing"),
        ({"extra_params": {"guidance_to": 2}}, "extra_params.guidance_to", "invalid_value", "a number from 0 to 1, or"),
        (
            {"extra_params": {"guidance_from": 0.5, "guidance_to": 0.5}},
            "extra_params.guidance_from",
            "contradiction",
            "'guidance_from' is 0.5, 'guidance_to' 0.5: the first must be below",
        ),
        (
            {"num_inference_steps": 201},
            "num_inference_steps",
            "invalid_value",
            "is 201: give a whole number from 1 to 200, or leave",
        ),
        ({"num_inference_steps": 151}, "num_inference_steps", "unsupported_value", "m has 150 steps: give at most"),
        ({"guidance_scale": 21}, "guidance_scale", "invalid_value", "is 21: give a number from 0 to 20, or"),
        ({"seed": -1}, "seed", "invalid_value", "0"),
        ({"num_frames": True}, "num_frames", "invalid_value", "not true or false"),
        (
            {"fps": float("nan")},
            "fps",
            "invalid_value",
            "'fps' is NaN: give a number from 0.1 to 240, or leave it out.",
        ),
        ({"prompt": ""}, "prompt", "invalid_value", "'prompt' is \"\": give at least 1 character."),
        ({"prompt": "\0"}, "prompt", "invalid_value", "NUL"),
        ({"prompt": "\ud800"}, "prompt", "invalid_value", "'prompt'"),
    ],
)
def test_what_breaks_a_rule(fields: dict[str, Any], param: str, code: str, told: str) -> None:
    error = refused(**fields)
    assert (error.param, error.code) == (param, code)
    assert told in error.message


@pytest.mark.parametrize(("given", "level"), [({}, 5), ({"motion_level": 10}, 10), ({"motion_level": "1"}, 1)])
def test_a_motion_level_of_a_model_that_takes_one(given: dict[str, Any], level: int) -> None:
    model = replace(MODEL, default_motion_level=5)
    assert resolve(read_fields(VideoRequest, {"prompt": "p", **given}), model).motion_level == level
    assert order().motion_level is None


@pytest.mark.parametrize("frames", [1, 5, 11, 16, 999])
@pytest.mark.parametrize("fps", [6.0, 7.3, 12.0])
def test_what_the_server_says_of_a_video_may_be_asked_for(frames: int, fps: float) -> None:
    """Its length is rounded, and at the ends of the range that is outside of it."""
    model = replace(MODEL, frames=frames, fps=(6.0, 12.0))
    fields = {"prompt": "p", "num_frames": frames}
    made = resolve(read_fields(VideoRequest, {**fields, "fps": fps}), model)
    told = video_object(Job("video_1", "", made, "completed", "done", 100, 0.0)).seconds
    again = resolve(read_fields(VideoRequest, {**fields, "seconds": told}), model)
    assert again.fps == pytest.approx(fps, rel=1e-2)
    assert 6.0 <= again.fps <= 12.0
    assert resolve(read_fields(VideoRequest, {**fields, "seconds": told, "fps": fps}), model).fps == fps


def test_the_longest_that_is_told_may_be_asked_for() -> None:
    model = replace(MODEL, frames=76, fps=(6.0, 12.0))
    with pytest.raises(ApiError) as caught:
        resolve(read_fields(VideoRequest, {"prompt": "p", "seconds": 20}), model)
    (longest,) = re.findall(r"to ([0-9.]+) seconds", caught.value.message)
    assert resolve(read_fields(VideoRequest, {"prompt": "p", "seconds": longest}), model).fps == 6.0


def test_a_model_of_one_rate_has_one_length() -> None:
    model = replace(MODEL, frames=8, fps=(4.0, 4.0))
    with pytest.raises(
        ApiError, match=r"; m supports 4, so 8 frames last 2 seconds: give that, or leave seconds out\."
    ):
        resolve(read_fields(VideoRequest, {"prompt": "p", "seconds": 4}), model)
    made = resolve(read_fields(VideoRequest, {"prompt": "p", "fps": 8}), model)
    assert "trained at 4 frames a second" in made.warnings[0]


def test_a_remix_has_fields_of_its_own() -> None:
    with pytest.raises(ApiError, match=r"no field 'image'\. There are prompt\."):
        read_fields(RemixRequest, {"prompt": "p", "image": "a.png"})


def test_a_missing_prompt() -> None:
    with pytest.raises(ApiError) as caught:
        read_fields(VideoRequest, {})
    assert (caught.value.code, caught.value.param) == ("missing_parameter", "prompt")


def test_settings_of_the_sampler() -> None:
    extra = {"guidance_rescale": "0.7", "eta": 1, "spacing": "trailing"}
    found = order(num_inference_steps="20", guidance_scale="3.5", extra_params=extra)
    assert found.sampling == Sampling(20, 3.5, 0.7, 1.0, "trailing")
    assert "interval" not in found.to_json()  # a worker of an earlier version can read it


@pytest.mark.parametrize(
    ("extra", "interval"),
    [
        ({"guidance_from": "0.25", "guidance_to": 0.5}, (0.25, 0.5)),
        ({"guidance_from": 0}, (0.0, 0.8)),
        ({"guidance_to": 1}, (0.2, 1.0)),
        ({}, (0.2, 0.8)),
    ],
)
def test_the_interval_of_guidance(extra: dict[str, Any], interval: tuple[float, float]) -> None:
    """Where a request says nothing, it is the model's; it comes back from the store, and is part of a batch's shape."""
    model = replace(MODEL, defaults=Sampling(guidance_interval=(0.2, 0.8)))
    found = resolve(read_fields(VideoRequest, {"prompt": "p", "extra_params": extra}), model)
    assert found.sampling == Sampling(guidance_interval=interval)
    assert type(found).of(found.to_json()) == found
    assert found.shape() != replace(found, sampling=Sampling()).shape()


def test_what_may_look_worse_is_told() -> None:
    assert "trained on videos of 16 frames" in order(num_frames=8).warnings[0]
    assert "trained at 4 to 32 frames a second" in order(fps=60).warnings[0]


def test_shapes_tell_apart_what_cannot_share_a_batch() -> None:
    usual = order(seed=1)
    assert usual.shape() == replace(usual, seed=2, prompt="q", fps=9.0, negative="r").shape()
    for other in (replace(usual, frames=8), replace(usual, sampling=Sampling(49)), replace(usual, model="n")):
        assert usual.shape() != other.shape()
    assert type(usual).of(usual.to_json()) == usual


def test_a_request_that_says_nothing_is_sampled_as_the_model_is() -> None:
    model = replace(MODEL, defaults=Sampling(20, 3.0, 0.5, 0.0, "trailing", "unipc"))
    assert resolve(read_fields(VideoRequest, {"prompt": "a"}), model).sampling == model.defaults


def test_noise_on_the_way_where_there_is_none() -> None:
    request = read_fields(VideoRequest, {"prompt": "a", "extra_params": {"eta": 0.5}})
    with pytest.raises(ApiError, match="does not support noise"):
        resolve(request, replace(MODEL, takes_eta=False))


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"kind": "c", "name": "abc"}, """'kind' is "c": give 'a' or 'b'."""),
        ({"kind": "a", "name": "abcd"}, """'name' is "abcd": give at most 3 characters."""),
    ],
)
def test_a_field_says_its_own_rule(given: dict[str, str], rule: str) -> None:
    class Request(BaseModel):
        kind: Literal["a", "b"]
        name: str = Field(max_length=3)

    with pytest.raises(ApiError) as caught:
        read_fields(Request, given)
    assert caught.value.message == rule


def test_the_client_names_the_same_settings() -> None:
    """But for the prompt, which it takes apart; the sides, which ``size`` says; and what only others' clients send."""
    assert VideoSettings.__annotations__.keys() ^ VideoRequest.model_fields.keys() == {
        "idempotency_key", "prompt", "width", "height", "user"
    }  # fmt: skip
