"""The official SDKs for Python before channels of every other protocol: whole, streamed, refused, counted.

Each SDK reads with its strict validation where it has one, so that a translated answer is judged by those it is for.
"""

import anthropic
import openai
from google import genai
from google.genai import errors, types
from smoke import GATEWAY, KEY, check, equal, post, provider_text, raises, record, PROVIDER

TEXT = provider_text()
PROTOCOLS = ("chat", "responses", "anthropic", "gemini")
MESSAGES = [{"role": "user", "content": "hi"}]
REFUSED = {"faults": [{"status": {"status": 400}}]}


def sdk_openai():
    return openai.OpenAI(
        base_url=GATEWAY + "/v1", api_key=KEY, max_retries=0, timeout=30, _strict_response_validation=True
    )


def sdk_anthropic():
    return anthropic.Anthropic(
        base_url=GATEWAY, api_key=KEY, max_retries=0, timeout=30, _strict_response_validation=True
    )


def sdk_google():
    http = types.HttpOptions(base_url=GATEWAY, timeout=30_000, retry_options=types.HttpRetryOptions(attempts=1))
    return genai.Client(api_key=KEY, vertexai=False, http_options=http)


def refuse_once(model):
    """The next request for this model gets the provider's own 400."""
    post(f"{PROVIDER}/__fake/script", {"selector": {"credential": f"upstream-{model}"}, **REFUSED})


def chat(model):
    sdk = sdk_openai()

    def whole():
        answer = sdk.chat.completions.create(model=model, messages=MESSAGES)
        equal((answer.choices[0].message.content, answer.choices[0].finish_reason), (TEXT, "stop"))
        equal((answer.model, answer.usage.total_tokens), (model, 59))

    def stream():
        with sdk.chat.completions.stream(
            model=model, messages=MESSAGES, stream_options={"include_usage": True}
        ) as events:
            answer = events.get_final_completion()
        equal((answer.choices[0].message.content, answer.usage.total_tokens), (TEXT, 59))

    def refused():
        refuse_once(model)
        error = raises(openai.BadRequestError, lambda: sdk.chat.completions.create(model=model, messages=MESSAGES))
        assert error.body["message"] and error.body["type"], error.body

    return whole, stream, refused


def responses(model):
    sdk = sdk_openai()

    def whole():
        answer = sdk.responses.create(model=model, input="hi")
        equal((answer.output_text, answer.status, answer.usage.total_tokens), (TEXT, "completed", 59))

    def stream():
        with sdk.responses.stream(model=model, input="hi") as events:
            numbers = [event.sequence_number for event in events if hasattr(event, "sequence_number")]
            answer = events.get_final_response()
        equal(numbers, list(range(len(numbers))))
        equal((answer.output_text, answer.usage.total_tokens), (TEXT, 59))

    def refused():
        refuse_once(model)
        raises(openai.BadRequestError, lambda: sdk.responses.create(model=model, input="hi"))

    return whole, stream, refused


def messages(model):
    sdk = sdk_anthropic()
    asked = {"model": model, "max_tokens": 64, "messages": MESSAGES}

    def used(usage):
        return usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)

    def whole():
        answer = sdk.messages.create(**asked)
        equal((answer.content[0].text, answer.stop_reason, answer.model), (TEXT, "end_turn", model))
        equal((used(answer.usage), answer.usage.output_tokens), (42, 17))

    def stream():
        with sdk.messages.stream(**asked) as events:
            equal("".join(events.text_stream), TEXT)
            answer = events.get_final_message()
        equal((answer.stop_reason, used(answer.usage), answer.usage.output_tokens), ("end_turn", 42, 17))

    def refused():
        refuse_once(model)
        error = raises(anthropic.BadRequestError, lambda: sdk.messages.create(**asked))
        equal(error.body["error"]["type"], "invalid_request_error")

    def count():
        counted = sdk.messages.with_raw_response.count_tokens(model=model, messages=MESSAGES)
        assert counted.parse().input_tokens > 0
        equal(counted.headers.get("x-tollgate-estimated"), "tokens" if model == "at-chat" else None)

    return whole, stream, refused, count


def generate_content(model):
    sdk = sdk_google()

    def whole():
        answer = sdk.models.generate_content(model=model, contents="hi")
        equal((answer.text, answer.usage_metadata.prompt_token_count), (TEXT, 42))

    def stream():
        parts = list(sdk.models.generate_content_stream(model=model, contents="hi"))
        equal("".join(part.text or "" for part in parts), TEXT)
        equal(parts[-1].usage_metadata.total_token_count, 59)

    def refused():
        refuse_once(model)
        error = raises(errors.ClientError, lambda: sdk.models.generate_content(model=model, contents="hi"))
        equal((error.code, error.status), (400, "INVALID_ARGUMENT"))

    def count():
        assert sdk.models.count_tokens(model=model, contents="hi").total_tokens > 0

    return whole, stream, refused, count


def translated():
    """The access log says what was translated into what."""
    answer = sdk_openai().chat.completions.with_raw_response.create(model="at-anthropic", messages=MESSAGES)
    line = record(answer.headers["x-request-id"])
    equal((line["entry"], line["translated"], line["end"]), ("openai", "anthropic", "ok"))


CLIENTS = {"chat": chat, "responses": responses, "anthropic": messages, "gemini": generate_content}

for client, checks in CLIENTS.items():
    for there in PROTOCOLS:
        if there != client:
            for what in checks(f"at-{there}"):
                check(f"python {client} at {there} {what.__name__}", what)
check("python what was translated", translated)
