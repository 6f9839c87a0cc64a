"""The official Anthropic SDK for Python, with its strict response validation, at every base URL we promise."""

import anthropic
from smoke import GATEWAY, KEY, WRONG_KEY, check, check_failover, equal, fail_once, provider_text, raises, tight_key

MODEL = "claude-sonnet-4-5"
ASKED = {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]}
TEXT = provider_text()


def client(base="", **key):
    return anthropic.Anthropic(
        base_url=GATEWAY + base, max_retries=0, timeout=30, _strict_response_validation=True, **(key or {"api_key": KEY})
    )


def check_base(base):
    sdk = client(base)

    def messages():
        answer = sdk.messages.create(**ASKED)
        equal((answer.content[0].text, answer.stop_reason, answer.model), (TEXT, "end_turn", MODEL))
        equal((answer.usage.cache_read_input_tokens, answer.usage.output_tokens), (10, 17))

    def messages_stream():
        with sdk.messages.stream(**ASKED) as stream:
            equal("".join(stream.text_stream), TEXT)
            answer = stream.get_final_message()
        equal((answer.stop_reason, answer.usage.output_tokens), ("end_turn", 17))

    def raw_events():
        names = [event.type for event in sdk.messages.create(**ASKED, stream=True)]
        equal((names[0], names[-1]), ("message_start", "message_stop"))

    def count_tokens():
        equal(sdk.messages.count_tokens(model=MODEL, messages=ASKED["messages"]).input_tokens, 42)

    def models():
        listed = [model.id for model in sdk.models.list()]
        assert MODEL in listed and "gpt-4.1-mini" in listed, listed
        equal(sdk.models.retrieve(MODEL).lifecycle, "active")

    for what in (messages, messages_stream, raw_events, count_tokens, models):
        check(f"python anthropic '{base}' {what.__name__.replace('_', ' ')}", what)


def auth_token():
    equal(client(auth_token=KEY).messages.create(**ASKED).content[0].text, TEXT)


def wrong_key():
    for key in ({"api_key": WRONG_KEY}, {"auth_token": WRONG_KEY}):
        for call in (lambda sdk: sdk.messages.create(**ASKED), lambda sdk: sdk.models.list()):
            error = raises(anthropic.AuthenticationError, lambda: call(client(**key)))
            equal((error.status_code, error.body["error"]["type"]), (401, "authentication_error"))
            equal(error.body["error"]["code"], "invalid_api_key")
            equal(error.body["request_id"], error.request_id)


def unknown_model():
    error = raises(anthropic.NotFoundError, lambda: client().messages.create(**{**ASKED, "model": "nobody-serves-this"}))
    equal((error.body["error"]["type"], error.body["error"]["code"]), ("not_found_error", "model_not_found"))


def exhausted_rate():
    sdk = client(api_key=tight_key("python-anthropic"))
    sdk.messages.create(**ASKED)
    error = raises(anthropic.RateLimitError, lambda: sdk.messages.create(**ASKED))
    equal(error.body["error"]["code"], "rate_limit_exceeded")
    assert 0 < int(error.response.headers["retry-after"]) <= 60
    equal(error.response.headers["anthropic-ratelimit-requests-limit"], "1")


def failover():
    for stream in (False, True):
        fail_once("anthropic")
        answer = client().messages.with_raw_response.create(**ASKED, stream=stream)
        if stream:
            list(answer.parse())
        check_failover(answer.headers["request-id"], "anthropic")


for base in ("", "/", "/anthropic", "/api"):
    check_base(base)
for what in (auth_token, wrong_key, unknown_model, exhausted_rate, failover):
    check(f"python anthropic {what.__name__.replace('_', ' ')}", what)
