"""The official OpenAI SDK for Python, with its strict response validation, at every base URL we promise."""

import base64
import hashlib
import os
from functools import partial

import openai
from smoke import GATEWAY, KEY, WRONG_KEY, check, check_failover, equal, fail_once, provider_text, raises, tight_key

MODEL = "gpt-4.1-mini"
MESSAGES = [{"role": "user", "content": "hi"}]
TEXT = provider_text()


def client(base="/v1", key=KEY, strict=True):
    return openai.OpenAI(
        base_url=GATEWAY + base, api_key=key, max_retries=0, timeout=30, _strict_response_validation=strict
    )


def check_base(base):
    sdk = client(base)

    def models():
        listed = [model.id for model in sdk.models.list()]
        assert MODEL in listed and "claude-sonnet-4-5" in listed, listed
        equal(sdk.models.retrieve(MODEL).id, MODEL)

    def chat():
        answer = sdk.chat.completions.create(model=MODEL, messages=MESSAGES)
        equal((answer.choices[0].message.content, answer.choices[0].finish_reason), (TEXT, "stop"))
        equal((answer.model, answer.usage.prompt_tokens), (MODEL, 42))

    def chat_stream():
        usage = {"include_usage": True}
        chunks = list(sdk.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True, stream_options=usage))
        equal("".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices), TEXT)
        equal(chunks[-1].usage.completion_tokens, 17)

    def responses():
        answer = sdk.responses.create(model=MODEL, input="hi")
        equal((answer.output_text, answer.status, answer.usage.output_tokens), (TEXT, "completed", 17))

    def responses_stream():
        events = list(sdk.responses.create(model=MODEL, input="hi", stream=True))
        equal("".join(event.delta for event in events if event.type == "response.output_text.delta"), TEXT)
        equal([event.sequence_number for event in events], list(range(len(events))))
        equal(events[-1].type, "response.completed")

    def embeddings():
        # Without a wish the SDK asks for base64 and decodes it, which its own strict validation does not know.
        lenient = client(base, strict=False).embeddings.create
        for create in (partial(sdk.embeddings.create, encoding_format="float"), lenient):
            answer = create(model="text-embedding-3-small", input=["a", "b"])
            equal([item.index for item in answer.data], [0, 1])
            assert all(isinstance(number, float) for item in answer.data for number in item.embedding)

    def completions():
        answer = sdk.completions.create(model="gpt-3.5-turbo-instruct", prompt="hi")
        equal(answer.choices[0].text, TEXT)

    for what in (models, chat, chat_stream, responses, responses_stream, embeddings, completions):
        check(f"python openai {base} {what.__name__.replace('_', ' ')}", what)


def files():
    sdk, content = client(), bytes(range(256)) * 4096
    made = sdk.files.create(file=("batch.bin", content), purpose="batch")
    equal((made.filename, made.bytes), ("batch.bin", len(content)))
    assert made.id in [file.id for file in sdk.files.list()]
    equal(sdk.files.content(made.id).read(), content)
    assert sdk.files.delete(made.id).deleted
    raises(openai.NotFoundError, lambda: sdk.files.retrieve(made.id))


CONTENT = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def images():
    sdk = client()
    made = sdk.images.generate(model="gpt-image-1", prompt="a tollgate")
    assert base64.b64decode(made.data[0].b64_json)
    equal((made.usage.input_tokens, made.usage.output_tokens), (42, 17))
    assert sdk.images.generate(model="gpt-image-1", prompt="a", response_format="url").data[0].url
    for image in (("a.png", CONTENT), [("a.png", CONTENT), ("b.png", b"b")]):
        edited = sdk.images.edit(model="gpt-image-1", image=image, prompt="wider")
        equal(edited.model_extra["sha256"], DIGEST)
    varied = client(strict=False).images.create_variation(model="gpt-image-1", image=("a.png", CONTENT))
    equal(varied.model_extra["sha256"], DIGEST)


def image_streams():
    sdk = client()
    for kind, stream in (
        ("generation", sdk.images.generate(model="gpt-image-1", prompt="a", stream=True, partial_images=2)),
        ("edit", sdk.images.edit(model="gpt-image-1", image=("a.png", CONTENT), prompt="a", stream=True)),
    ):
        events = list(stream)
        partial = f"image_{kind}.partial_image"
        equal([event.type for event in events], [partial, partial, f"image_{kind}.completed"])
        equal(events[-1].usage.output_tokens, 17)


def speech():
    sdk, path = client(), os.path.join(os.environ["HOME"], "speech.mp3")
    asked = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "hi"}
    with sdk.audio.speech.with_streaming_response.create(**asked) as answer:
        equal(answer.headers["content-type"], "audio/mpeg")
        answer.stream_to_file(path)
    with open(path, "rb") as file:
        equal(file.read(), bytes(range(255, -1, -1)) * 16)
    with sdk.audio.speech.with_streaming_response.create(**asked, stream_format="sse") as answer:
        events = [line for line in answer.iter_lines() if line.startswith("data: ")]
    assert "speech.audio.done" in events[-1], events


def transcriptions():
    sdk = client()
    for model in ("gpt-4o-transcribe", "my-ears", "whisper-1"):
        heard = sdk.audio.transcriptions.create(model=model, file=("a.wav", CONTENT))
        equal((heard.text, heard.model_extra["sha256"]), (TEXT, DIGEST))
        equal(heard.usage.type, "duration" if model == "whisper-1" else "tokens")
    text = sdk.audio.transcriptions.create(model="whisper-1", file=("a.wav", CONTENT), response_format="text")
    equal(text, TEXT + "\n")
    events = list(sdk.audio.transcriptions.create(model="my-ears", file=("a.wav", CONTENT), stream=True))
    equal((events[-1].type, events[-1].text), ("transcript.text.done", TEXT))
    equal(sdk.audio.translations.create(model="whisper-1", file=("a.wav", CONTENT)).text, TEXT)


def large_file():
    content = os.urandom(25 << 20)
    heard = client().audio.transcriptions.create(model="my-ears", file=("a.wav", content))
    equal(heard.model_extra["sha256"], hashlib.sha256(content).hexdigest())


def videos():
    sdk, path = client(), os.path.join(os.environ["HOME"], "film.mp4")
    asked = {"model": "my-film", "seconds": "8", "size": "1280x720"}
    made = sdk.videos.create(prompt="bytes=12582912 of it", input_reference=("a.png", CONTENT, "image/png"), **asked)
    equal((made.status, made.model, made.seconds), ("queued", "my-film", "8"))
    equal(made.model_extra["input_reference_sha256"], DIGEST)
    done = sdk.videos.poll(made.id, poll_interval_ms=1)
    equal((done.id, done.status, done.model, done.progress), (made.id, "completed", "my-film", 100))
    film = sdk.videos.download_content(made.id)
    film.write_to_file(path)
    equal(os.path.getsize(path), 12582912)
    equal(sdk.videos.download_content(made.id, extra_headers={"range": "bytes=5-9"}).read(), film.content[5:10])
    equal(sdk.videos.download_content(made.id, variant="thumbnail").response.headers["content-type"], "image/webp")
    remixed = sdk.videos.remix(made.id, prompt="at night")
    equal((remixed.remixed_from_video_id, remixed.model), (made.id, "my-film"))
    # The SDK's own methods for these take a file where they should take an id too (3.52.0).
    further = partial(sdk.post, cast_to=openai.types.Video)
    edited = further("/videos/edits", body={"prompt": "at noon", "video": {"id": made.id}})
    extended = further("/videos/extensions", body={"prompt": "on", "seconds": "20", "video": {"id": made.id}})
    for other in (remixed, edited, extended):
        equal(sdk.videos.poll(other.id, poll_interval_ms=1).remixed_from_video_id, made.id)
    other_key = client(key=tight_key("python-openai"))
    error = raises(openai.NotFoundError, lambda: other_key.videos.retrieve(made.id))
    equal(error.code, "task_not_found")
    gone = sdk.videos.delete(made.id)
    equal((gone.id, gone.deleted), (made.id, True))
    error = raises(openai.NotFoundError, lambda: sdk.videos.retrieve(made.id))
    equal(error.message.count(made.id), 1)
    failed = sdk.videos.create_and_poll(prompt="fail", model="sora-2", poll_interval_ms=1)
    equal((failed.status, failed.error.code), ("failed", "moderation_blocked"))


def kept_responses():
    sdk = client()
    made = sdk.responses.create(model="my-words", input="hi")
    shown = sdk.responses.retrieve(made.id)
    equal((shown.id, shown.model, shown.output_text), (made.id, "my-words", TEXT))
    events = list(sdk.responses.retrieve(made.id, stream=True, starting_after=2))
    equal(events[-1].type, "response.completed")
    equal([item.id for item in sdk.responses.input_items.list(made.id)], ["msg_in"])
    equal(sdk.responses.cancel(made.id).status, "cancelled")
    equal(sdk.responses.input_tokens.count(model="my-words", input="hi").input_tokens, 42)
    equal(sdk.responses.create(model="my-words", input="on", previous_response_id=made.id).output_text, TEXT)
    other_key = client(key=tight_key("python-openai"))
    equal(raises(openai.NotFoundError, lambda: other_key.responses.retrieve(made.id)).code, "task_not_found")
    later = sdk.responses.create(model="my-words", input="hi", background=True)
    equal((later.status, later.usage, later.model), ("queued", None, "my-words"))
    equal(sdk.responses.retrieve(later.id).status, "in_progress")
    done = sdk.responses.retrieve(later.id)
    equal((done.status, done.output_text, done.usage.output_tokens), ("completed", TEXT, 17))
    sdk.responses.delete(made.id)
    raises(openai.NotFoundError, lambda: sdk.responses.retrieve(made.id))


def moderations():
    answer = client().moderations.create(model="omni-moderation-latest", input=["a", "b"])
    equal([result.flagged for result in answer.results], [False, False])


def mapped_model():
    answer = client().chat.completions.create(model="gpt-mapped", messages=MESSAGES)
    equal(answer.model, "gpt-mapped")


def wrong_key():
    for call in (
        lambda sdk: sdk.chat.completions.create(model=MODEL, messages=MESSAGES),
        lambda sdk: list(sdk.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)),
        lambda sdk: sdk.models.list(),
        lambda sdk: sdk.files.list(),
    ):
        error = raises(openai.AuthenticationError, lambda: call(client(key=WRONG_KEY)))
        equal((error.status_code, error.code), (401, "invalid_api_key"))
        assert error.request_id and error.request_id in error.message, error.message
        equal(error.response.headers["x-should-retry"], "false")


def unknown_model():
    for call in (
        lambda sdk: sdk.chat.completions.create(model="nobody-serves-this", messages=MESSAGES),
        lambda sdk: sdk.models.retrieve("nobody-serves-this"),
    ):
        error = raises(openai.NotFoundError, lambda: call(client()))
        equal((error.status_code, error.code, error.param), (404, "model_not_found", "model"))
        assert "nobody-serves-this" in error.message


def bad_request():
    error = raises(openai.BadRequestError, lambda: client().chat.completions.create(model=MODEL, messages=[]))
    assert error.type == "invalid_request_error", error.body


def exhausted_rate():
    sdk = client(key=tight_key("python-openai"))
    sdk.chat.completions.create(model=MODEL, messages=MESSAGES)
    error = raises(openai.RateLimitError, lambda: sdk.chat.completions.create(model=MODEL, messages=MESSAGES))
    headers = error.response.headers
    equal((error.status_code, error.code), (429, "rate_limit_exceeded"))
    assert 0 < int(headers["retry-after"]) <= 60, headers["retry-after"]
    equal(headers["x-ratelimit-limit-requests"], "1")


def failover():
    create = client().chat.completions.with_raw_response.create
    for stream in (False, True):
        fail_once("openai")
        answer = create(model=MODEL, messages=MESSAGES, stream=stream)
        if stream:
            list(answer.parse())
        check_failover(answer.headers["x-request-id"], "openai")


def realtime():
    for model in ("gpt-realtime", "my-voice"):
        with client().realtime.connect(model=model) as session:
            equal(session.recv().session.model, model)
            hearing = {"input": {"transcription": {"model": "my-ears"}}}
            session.session.update(session={"type": "realtime", "model": model, "audio": hearing})
            updated = session.recv()
            equal((updated.session.model, updated.session.audio.input.transcription.model), (model, "my-ears"))
            session.input_audio_buffer.append(audio=base64.b64encode(CONTENT).decode())
            for _ in range(2):
                session.response.create()
                events = [session.recv()]
                while events[-1].type != "response.done":
                    events.append(session.recv())
                equal(events[-1].response.usage.output_tokens, 10)
            session.session.update(session={"type": "realtime", "model": "gpt-4.1-mini"})
            error = session.recv()
            equal((error.type, error.error.code), ("error", "invalid_request"))


def realtime_refused():
    import websockets

    for sdk, model, status in ((client(key=WRONG_KEY), "gpt-realtime", 401), (client(), "nobody-serves-this", 404)):
        error = raises(websockets.exceptions.InvalidStatus, lambda: sdk.realtime.connect(model=model).enter())
        equal(error.response.status_code, status)


for base in ("/v1", "/v1/", "/api/v1", "/api/v1/", "/openai/v1"):
    check_base(base)
media = (images, image_streams, speech, transcriptions, large_file, videos, kept_responses, moderations)
sessions = (realtime, realtime_refused)
for what in (files, *media, *sessions, mapped_model, wrong_key, unknown_model, bad_request, exhausted_rate, failover):
    check(f"python openai {what.__name__.replace('_', ' ')}", what)
