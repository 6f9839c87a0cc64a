"""What keeps a silent stream alive is nothing to the official SDKs for Python, wherever in the stream it stands."""

import json
import threading
import time
import urllib.request

import anthropic
import openai
from google import genai
from google.genai import types
from smoke import GATEWAY, KEY, PROVIDER, check, equal, post, provider_text, records, wait_for

TEXT = provider_text()
# A few times the channels' interval.
SILENT_SECONDS = 0.5


def chat():
    sdk = openai.OpenAI(base_url=f"{GATEWAY}/v1", api_key=KEY, max_retries=0, timeout=30, _strict_response_validation=True)
    asked = {"model": "quiet-openai", "messages": [{"role": "user", "content": "hi"}]}
    chunks = sdk.chat.completions.create(**asked, stream=True)
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def responses():
    sdk = openai.OpenAI(base_url=f"{GATEWAY}/v1", api_key=KEY, max_retries=0, timeout=30, _strict_response_validation=True)
    events = list(sdk.responses.create(model="quiet-openai", input="hi", stream=True))
    equal([event.sequence_number for event in events], list(range(len(events))))
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def messages():
    sdk = anthropic.Anthropic(
        base_url=GATEWAY, api_key=KEY, max_retries=0, timeout=30, _strict_response_validation=True
    )
    asked = {"model": "quiet-anthropic", "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]}
    with sdk.messages.stream(**asked) as stream:
        text = "".join(stream.text_stream)
        equal(stream.get_final_message().stop_reason, "end_turn")
    return text


def generate_content():
    http = types.HttpOptions(base_url=GATEWAY, timeout=30_000, retry_options=types.HttpRetryOptions(attempts=1))
    sdk = genai.Client(api_key=KEY, vertexai=False, http_options=http)
    return "".join(part.text or "" for part in sdk.models.generate_content_stream(model="quiet-gemini", contents="hi"))


def release_later():
    """Lets the answer go on once it has held for a while."""
    wait_for(lambda: counts()["holding"] > 0)
    time.sleep(SILENT_SECONDS)
    post(f"{PROVIDER}/__fake/release", {"count": 1})


def counts():
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"{PROVIDER}/__fake/counts", timeout=10) as answer:
        return json.load(answer)


def sent():
    """The bytes of every stream of a quiet channel so far, in order."""
    return [line["bytes_out"] for line in records() if (line["channel"] or "").startswith("quiet-")]


def kept_alive(ask, fault):
    """The same stream without and with a silence: what it says is the same, and there was more in it."""
    before = len(sent())
    equal(ask(), TEXT)
    post(f"{PROVIDER}/__fake/script", {"selector": "any", "faults": [fault]})
    releasing = threading.Thread(target=release_later)
    releasing.start()
    equal(ask(), TEXT)
    releasing.join()
    plain, silent = wait_for(lambda: len(sent()) >= before + 2 and sent()[before:])
    assert silent > plain, f"{silent} bytes instead of more than {plain}"


for ask in (chat, responses, messages, generate_content):
    for where, fault in (("before the head", "hold_first_byte"), ("between events", {"hold_mid_stream": {"after_events": 2}})):
        check(f"python {ask.__name__.replace('_', ' ')} pings {where}", lambda: kept_alive(ask, fault))
